# What runs, and what each may do: the one table that roles, groups and services are made from.
#
#   keyed    reaches the KEK. `keep` compacts and sweeps without any key.
#   puts     names of objects, below the prefix, that it writes
#   deletes  names that it removes: of the log partial tiles alone, of the journal nothing
#
# `operate` is no service: it is what `aws ecs run-task` starts for init, ingest, keys, check, restore.

locals {
  tasks = {
    serve = {
      command = ["serve", "--host", "0.0.0.0", "--port", "8700", "--workers", "2"]
      count   = var.serving
      keyed   = true
      puts    = ["log/*", "journal/*", "exports/*"]
      deletes = ["log/*.p/*", "exports/*"]
    }
    export = {
      command = ["export", "run"]
      count   = var.exporting
      keyed   = true
      puts    = ["log/*", "exports/*"]
      deletes = ["log/*.p/*", "exports/*"]
    }
    keep = {
      command = ["keep"]
      count   = var.serving > 0 ? 1 : 0
      keyed   = false
      puts    = ["register=*"]
      deletes = ["register=*", "exports/*"]
    }
    operate = {
      command = ["check"]
      count   = 0
      keyed   = true
      puts    = ["register=*", "log/*", "journal/*", "exports/*"]
      deletes = ["register=*", "log/*.p/*", "exports/*"]
    }
  }

  settings = {
    for name, task in local.tasks : name => merge(
      var.settings,
      {
        AWS_REGION             = var.region
        METERKEEP_HOME         = "/var/tmp/meterkeep"
        METERKEEP_DATABASE_URL = local.database_url
        METERKEEP_OBJECTS      = "s3://${aws_s3_bucket.objects.bucket}/${local.prefix}"
        METERKEEP_PUBLIC_URL   = var.public_url
        METERKEEP_LOG_LOCK     = var.log_lock
      },
      # The balancer is believed to be one, so that its callers do not share one count of failures at
      # the token endpoint. What it would be believed about certificates, front.tf refuses.
      name == "serve" ? {
        METERKEEP_TRUSTED_PROXIES = join(" ", [for one in aws_subnet.edge : one.cidr_block])
      } : {},
      task.keyed ? { METERKEEP_KEK = "aws-kms:${aws_kms_key.kek[var.kek].arn}" } : {},
      task.keyed && var.kek_next != null ? {
        METERKEEP_KEK_NEXT = "aws-kms:${aws_kms_key.kek[var.kek_next].arn}"
      } : {},
    )
  }

  # Ends well while the database lets this task in. The password is changed each week: a task that has the
  # old one is replaced by one that has the new one.
  alive = "import os, sqlalchemy as s; s.create_engine(os.environ['METERKEEP_DATABASE_URL']).connect()"
}
