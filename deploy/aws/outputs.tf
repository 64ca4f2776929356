output "shell" {
  description = "A shell on the machine, without a key and without an open port"
  value       = "aws ssm start-session --region ${var.region} --target ${aws_instance.desk.id}"
}

output "dashboard" {
  description = "The dashboard on this machine's own loopback"
  value       = "aws ssm start-session --region ${var.region} --target ${aws_instance.desk.id} --document-name AWS-StartPortForwardingSession --parameters portNumber=5000,localPortNumber=5000"
}

output "backup_target" {
  description = "For backup.targets of the settings"
  value       = "s3://${aws_s3_bucket.backups.bucket}/zerohour?region=${var.region}"
}
