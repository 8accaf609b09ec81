# The KEKs, which wrap the store's keys, and the key that encrypts the database's disk.
#
# KMS renews the material of each once a year, and still opens what the older material wrapped. That
# is no rotation of the store's: a new name in `keks`, and `meterkeep keys rotate kek`, is.

data "aws_caller_identity" "this" {}

locals {
  # The account says by IAM who may use a key. In it, roles.tf lets tasks with keys alone.
  account_decides = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecides"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.this.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*" # of a key's policy: this key
    }]
  })
  keks_in_use = toset(compact([var.kek, var.kek_next]))
}

resource "aws_kms_key" "kek" {
  for_each                = var.keks
  description             = "${var.name}: KEK ${each.key}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.account_decides
}

resource "aws_kms_alias" "kek" {
  for_each      = var.keks
  name          = "alias/${var.name}-kek-${each.key}"
  target_key_id = aws_kms_key.kek[each.key].key_id
}

resource "aws_kms_key" "database" {
  description             = "${var.name}: the database's disk and backups"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.account_decides
  lifecycle {
    prevent_destroy = true
  }
}
