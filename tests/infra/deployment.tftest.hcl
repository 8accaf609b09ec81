# The deployment as a provider that reaches nobody makes it: names and policies are real, what AWS would
# number is made up here. test_deployment.py says what must hold of what comes out.

mock_provider "aws" {
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-2:111122223333:loadbalancer/app/a/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-2:111122223333:listener/app/a/1/2" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-2:111122223333:targetgroup/a/3" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::a-bucket" }
  }
  mock_resource "aws_vpc_endpoint" {
    defaults = { prefix_list_id = "pl-3" }
  }
  mock_resource "aws_db_instance" {
    defaults = {
      address            = "database.example"
      master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:rds-1" }]
    }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  override_resource {
    target = aws_kms_key.database
    values = { arn = "arn:aws:kms:eu-west-2:111122223333:key/database" }
  }
  override_resource {
    target = aws_kms_key.kek["first"]
    values = { arn = "arn:aws:kms:eu-west-2:111122223333:key/first" }
  }
  override_resource {
    target = aws_kms_key.kek["second"]
    values = { arn = "arn:aws:kms:eu-west-2:111122223333:key/second" }
  }
  override_resource {
    target = aws_iam_role.starting
    values = { arn = "arn:aws:iam::111122223333:role/starting" }
  }
  override_resource {
    target = aws_iam_role.task["serve"]
    values = { arn = "arn:aws:iam::111122223333:role/serve" }
  }
  override_resource {
    target = aws_iam_role.task["export"]
    values = { arn = "arn:aws:iam::111122223333:role/export" }
  }
  override_resource {
    target = aws_iam_role.task["keep"]
    values = { arn = "arn:aws:iam::111122223333:role/keep" }
  }
  override_resource {
    target = aws_iam_role.task["operate"]
    values = { arn = "arn:aws:iam::111122223333:role/operate" }
  }
}

variables {
  bucket          = "a-bucket"
  image           = "111122223333.dkr.ecr.eu-west-2.amazonaws.com/some/meterkeep@sha256:00"
  certificate_arn = "arn:aws:acm:eu-west-2:111122223333:certificate/1"
  public_url      = "https://reads.example"
  callers         = ["198.51.100.0/24"]
}

run "as_it_comes" {
  command = apply
}

run "public_while_the_kek_is_rotated" {
  command = apply
  variables {
    public   = true
    keks     = ["first", "second"]
    kek_next = "second"
  }
}

run "before_there_is_a_store" {
  command = apply
  variables {
    serving   = 0
    exporting = 0
  }
}

run "an_image_without_a_digest" {
  command = plan
  variables {
    image = "111122223333.dkr.ecr.eu-west-2.amazonaws.com/some/meterkeep:latest"
  }
  expect_failures = [var.image]
}

run "backups_as_old_as_an_erasure_everywhere" {
  command = plan
  variables {
    backup_days = 35
  }
  expect_failures = [var.backup_days]
}

run "a_setting_that_is_made_here" {
  command = plan
  variables {
    settings = { METERKEEP_KEK = "aws-kms:alias/another" }
  }
  expect_failures = [var.settings]
}
