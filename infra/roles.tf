# One role a task, by the table in tasks.tf: objects below the prefix, and the KEKs in use for who has keys.
# Nobody removes a version, lifts a lock, or reaches another bucket or key.

locals {
  object_actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:PutObjectRetention"]
  below          = "${aws_s3_bucket.objects.arn}/${local.prefix}"
  encryption     = "kms:EncryptionContext:meterkeep"

  assumed_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  })
}

resource "aws_iam_role" "task" {
  for_each           = local.tasks
  name               = "${var.name}-${each.key}"
  assume_role_policy = local.assumed_by_tasks
}

resource "aws_iam_role_policy" "objects" {
  for_each = local.tasks
  name     = "objects"
  role     = aws_iam_role.task[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.below}/*"]
      },
      { # Without it S3 says of what is not there that it is forbidden. The whole bucket is the store's.
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [aws_s3_bucket.objects.arn]
      },
      {
        Sid      = "Put"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = [for one in each.value.puts : "${local.below}/${one}"]
      },
      {
        Sid      = "Delete"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = [for one in each.value.deletes : "${local.below}/${one}"]
      },
    ]
  })
}

resource "aws_iam_role_policy" "keys" {
  for_each = { for name, task in local.tasks : name => task if task.keyed }
  name     = "keys"
  role     = aws_iam_role.task[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { # Only as the store does it: bound to a context.
        Sid       = "Wrap"
        Effect    = "Allow"
        Action    = ["kms:Encrypt", "kms:Decrypt"]
        Resource  = [for name in local.keks_in_use : aws_kms_key.kek[name].arn]
        Condition = { Null = { (local.encryption) = "false" } }
      },
      { # Who holds keys writes the log.
        Sid      = "LockTheLog"
        Effect   = "Allow"
        Action   = ["s3:PutObjectRetention"]
        Resource = ["${local.below}/log/*"]
      },
    ]
  })
}

# What ECS itself does before a task runs: the image, the password, the log. The task cannot take this role.
resource "aws_iam_role" "starting" {
  name               = "${var.name}-starting"
  assume_role_policy = local.assumed_by_tasks
}

resource "aws_iam_role_policy" "starting" {
  name = "starting"
  role = aws_iam_role.starting.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Password"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [local.password]
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.task : "${group.arn}:*"]
      },
      {
        Sid      = "Image"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = ["arn:aws:ecr:${var.region}:${local.registry}:repository/${local.repository}"]
      },
      { # AWS knows no narrower resource for it.
        Sid      = "Registry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
    ]
  })
}

locals {
  # ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:..
  registry   = split(".", var.image)[0]
  repository = regex("^[^/]+/([^@]+)@", var.image)[0]
}
