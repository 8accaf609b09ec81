# The catalogue, the wrapped keys and the log's rows. Reached by tasks alone, by TLS alone.

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = [for one in aws_subnet.inner : one.id]
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.name}-${split(".", var.database.version)[0]}"
  family = "postgres${split(".", var.database.version)[0]}"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

# Its logs go nowhere else, and a statement's values are not in them: PostgreSQL's own defaults.
resource "aws_db_instance" "this" {
  identifier                  = var.name
  engine                      = "postgres"
  engine_version              = var.database.version
  instance_class              = var.database.class
  allocated_storage           = var.database.first
  max_allocated_storage       = var.database.most
  storage_type                = "gp3"
  storage_encrypted           = true
  kms_key_id                  = aws_kms_key.database.arn
  db_name                     = "meterkeep"
  username                    = "meterkeep"
  manage_master_user_password = true # in Secrets Manager, made there: in no state and in no plan
  db_subnet_group_name        = aws_db_subnet_group.this.name
  parameter_group_name        = aws_db_parameter_group.this.name
  vpc_security_group_ids      = [aws_security_group.database.id]
  ca_cert_identifier          = "rds-ca-rsa2048-g1"
  publicly_accessible         = false
  multi_az                    = true
  backup_retention_period     = var.backup_days
  copy_tags_to_snapshot       = true
  deletion_protection         = true
  skip_final_snapshot         = false
  final_snapshot_identifier   = "${var.name}-last" # a backup too: delete it when it is backup_days old
  lifecycle {
    prevent_destroy = true
  }
}

locals {
  password = aws_db_instance.this.master_user_secret[0].secret_arn
  # No password in it: libpq takes that from PGPASSWORD.
  database_url = join("", [
    "postgresql+psycopg://${aws_db_instance.this.username}@${aws_db_instance.this.address}:5432/",
    "${aws_db_instance.this.db_name}?sslmode=verify-full&sslrootcert=${var.database_ca}",
  ])
}
