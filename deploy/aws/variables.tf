variable "region" {
  description = "Near the broker's servers"
  type        = string
  default     = "us-east-1"
}

variable "vpc_id" {
  description = "The network to stand in"
  type        = string
}

variable "subnet_id" {
  description = "A subnet of it with a way out"
  type        = string
}

variable "has_public_address" {
  description = "Whether the way out is an address of the machine's own; no port is open either way"
  type        = bool
  default     = false
}

variable "instance_type" {
  description = "At least two processors and 8 GB"
  type        = string
  default     = "m7i.large"
}

variable "disk_gb" {
  description = "Market data of about a year"
  type        = number
  default     = 200
}

variable "repository" {
  description = "Where the program is cloned from"
  type        = string
}

variable "revision" {
  description = "The tag or commit that runs; never a branch"
  type        = string
}
