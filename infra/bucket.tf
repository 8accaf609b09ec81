# Sealed reads, the log's tiles, the journal and parts of exports: one bucket, below one prefix.
#
# S3's own encryption is S3's own key, not one of ours: what lies here is sealed already, and processes
# that hold no key must be able to merge it without KMS.

locals {
  prefix = "store"
}

resource "aws_s3_bucket" "objects" {
  bucket              = var.bucket
  object_lock_enabled = true # no default retention: the store locks each object of the log by itself
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "objects" {
  bucket = aws_s3_bucket.objects.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "objects" {
  bucket = aws_s3_bucket.objects.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "objects" {
  bucket = aws_s3_bucket.objects.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "objects" {
  bucket                  = aws_s3_bucket.objects.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Deleted versions outlive the oldest backup of the database by a day, so that a database brought back
# finds its objects, and no longer. They are sealed: whoever was erased has a key in those backups alone.
# A locked version stays for as long as it is locked, whatever stands here.
resource "aws_s3_bucket_lifecycle_configuration" "objects" {
  bucket     = aws_s3_bucket.objects.id
  depends_on = [aws_s3_bucket_versioning.objects]
  rule {
    id     = "deleted"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.backup_days + 1
    }
    expiration {
      expired_object_delete_marker = true
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "objects" {
  bucket     = aws_s3_bucket.objects.id
  depends_on = [aws_s3_bucket_public_access_block.objects]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "NoPlainHttp"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.objects.arn, "${aws_s3_bucket.objects.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "NobodyLiftsALock"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:BypassGovernanceRetention"
        Resource  = ["${aws_s3_bucket.objects.arn}/*"]
      },
    ]
  })
}
