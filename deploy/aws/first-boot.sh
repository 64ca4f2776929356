#!/bin/bash
# The machine's first start: the program in /opt/zerohour, its secrets in files, its services; the desk is not started.
set -euo pipefail
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq git make python3 python3-venv chrony logrotate stunnel4
snap install aws-cli --classic
useradd --system --home-dir /opt/zerohour --shell /usr/sbin/nologin zerohour
git clone --quiet "${repository}" /opt/zerohour
git -C /opt/zerohour checkout --quiet "${revision}"
make -C /opt/zerohour .venv/.ready
install -d -m 0755 /etc/zerohour
install -d -m 0700 /etc/zerohour/secrets
umask 077
for name in gexbot_key ib_account web_token; do
  aws ssm get-parameter --region "${region}" --with-decryption --name "/zerohour/$name" \
    --query Parameter.Value --output text >"/etc/zerohour/secrets/$name"
done
cp /opt/zerohour/deploy/systemd/*.service /opt/zerohour/deploy/systemd/*.timer /etc/systemd/system/
cp /opt/zerohour/deploy/logrotate.conf /etc/logrotate.d/zerohour
systemctl daemon-reload
