# One machine without any open port, reached through Session Manager; a bucket for backups; secrets from the parameter
# store. OpenTofu or Terraform: `tofu init && tofu plan`. How it is used: docs/guides/deployment.md.
terraform {
  required_version = ">= 1.8"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "zerohour" }
  }
}

data "aws_caller_identity" "me" {}

data "aws_ssm_parameter" "image" {
  # It brings the agent of Session Manager along, the only way in.
  name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
}

resource "aws_security_group" "desk" {
  name        = "zerohour"
  description = "Nothing comes in; the desk dials out"
  vpc_id      = var.vpc_id

  egress {
    description = "IB, the feed of gamma, packages, the cloud's own interfaces"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_s3_bucket" "backups" {
  bucket_prefix = "zerohour-backups-"
}

resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_iam_role" "desk" {
  name = "zerohour"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "session" {
  role       = aws_iam_role.desk.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy" "desk" {
  name = "zerohour"
  role = aws_iam_role.desk.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = "arn:aws:ssm:${var.region}:${data.aws_caller_identity.me.account_id}:parameter/zerohour/*"
      },
      {
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = aws_s3_bucket.backups.arn
      },
      {
        # Not DeleteObjectVersion: what was written once outlives whoever gets onto the machine.
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = "${aws_s3_bucket.backups.arn}/*"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "desk" {
  name = "zerohour"
  role = aws_iam_role.desk.name
}

resource "aws_instance" "desk" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.desk.id]
  iam_instance_profile        = aws_iam_instance_profile.desk.name
  associate_public_ip_address = var.has_public_address
  user_data                   = templatefile("${path.module}/first-boot.sh", { region = var.region, repository = var.repository, revision = var.revision })
  disable_api_termination     = true
  monitoring                  = true

  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.disk_gb
    encrypted   = true
  }

  lifecycle {
    ignore_changes = [ami, user_data] # a newer image never replaces a desk that may hold something
  }
}
