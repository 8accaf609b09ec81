# What differs from one deployment to the next. The first five have no default: nobody can guess them.

variable "bucket" {
  description = "Name of the bucket of objects; unique in all of AWS."
  type        = string
}

variable "image" {
  description = "The container image, by digest, in ECR of this region: tasks reach no other registry."
  type        = string
  validation {
    condition     = strcontains(var.image, "@sha256:")
    error_message = "Name the image by its digest: NAME@sha256:.."
  }
}

variable "certificate_arn" {
  description = "Certificate (ACM) of the name in public_url."
  type        = string
}

variable "public_url" {
  description = "How callers reach the service: the issuer of its tokens, and the log's origin. Do not change it later."
  type        = string
  validation {
    condition     = startswith(var.public_url, "https://")
    error_message = "public_url begins with https://"
  }
}

variable "callers" {
  description = "Networks (CIDR) that may reach the balancer's port 443."
  type        = set(string)
}

variable "name" {
  description = "First word of every name here."
  type        = string
  default     = "meterkeep"
}

variable "region" {
  description = "Where it stands. Reads of Great Britain: London."
  type        = string
  default     = "eu-west-2"
}

variable "zones" {
  description = "Two or more zones of the region, by their letters."
  type        = list(string)
  default     = ["a", "b"]
  validation {
    condition     = length(var.zones) >= 2
    error_message = "A balancer and a database with a standby need two zones."
  }
}

variable "network" {
  description = "Address range of the VPC, a /16."
  type        = string
  default     = "10.20.0.0/16"
}

variable "public" {
  description = "Whether the balancer, and nothing else, has addresses of the internet. False: reach it by a peering or a VPN of yours."
  type        = bool
  default     = false
}

variable "keks" {
  description = "The KEKs that there are, each a KMS key. Taking a name away schedules that key's destruction: `meterkeep keys destroyed` tells the store."
  type        = set(string)
  default     = ["first"]
}

variable "kek" {
  description = "The KEK in use: METERKEEP_KEK."
  type        = string
  default     = "first"
}

variable "kek_next" {
  description = "The KEK that is to follow, while it is rotated: METERKEEP_KEK_NEXT."
  type        = string
  default     = null
}

variable "log_lock" {
  description = "METERKEEP_LOG_LOCK: mode, and days as in policies/retention.toml. COMPLIANCE is lifted by nobody, AWS included, and the bucket stays as long: choose it once you are sure."
  type        = string
  default     = "GOVERNANCE 2555"
}

variable "backup_days" {
  description = "Days that automatic backups of the database live. One less than [erased] backups in policies/retention.toml, since AWS removes them in its own time."
  type        = number
  default     = 34
  validation {
    condition     = var.backup_days >= 7 && var.backup_days < 35
    error_message = "From 7 to 34: on day 35 the store says of erased customers that no backup opens them."
  }
}

variable "database" {
  description = "The database: engine version (the tests run 18), instance class, gigabytes at first and at most."
  type = object({
    version = optional(string, "18")
    class   = optional(string, "db.r6g.large")
    first   = optional(number, 100)
    most    = optional(number, 1000)
  })
  default = {}
}

variable "database_ca" {
  description = "Where the image keeps the certificates of RDS (global-bundle.pem). The database's own certificate is held to them."
  type        = string
  default     = "/etc/meterkeep/rds.pem"
}

variable "serving" {
  description = "Tasks of `serve`. With none, none of `keep` either: so it begins, before `meterkeep init`."
  type        = number
  default     = 2
}

variable "exporting" {
  description = "Tasks of `export run`."
  type        = number
  default     = 1
}

variable "log_days" {
  description = "Days that what the processes print is kept. No reads and no meter points stand there."
  type        = number
  default     = 30
}

variable "settings" {
  description = "Further settings of the processes. A path is one within the image."
  type        = map(string)
  default     = {}
  validation {
    condition = alltrue([for name in keys(var.settings) : contains([
      "METERKEEP_DASK", "METERKEEP_ISSUERS", "METERKEEP_POLICIES", "METERKEEP_WITNESSES",
    ], name)])
    error_message = "Only METERKEEP_DASK, _ISSUERS, _POLICIES and _WITNESSES: all others are set here."
  }
}
