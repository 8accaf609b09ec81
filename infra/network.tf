# Who may talk to whom. Tasks and database have no way to the internet: what they need of AWS comes by endpoints.

locals {
  zones     = { for at, letter in var.zones : letter => at }
  endpoints = toset(["ecr.api", "ecr.dkr", "kms", "logs", "secretsmanager"])
}

resource "aws_vpc" "all" {
  cidr_block           = var.network
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# The VPC's own group lets its members talk to each other: it is emptied.
resource "aws_default_security_group" "none" {
  vpc_id = aws_vpc.all.id
}

resource "aws_subnet" "inner" {
  for_each          = local.zones
  vpc_id            = aws_vpc.all.id
  availability_zone = "${var.region}${each.key}"
  cidr_block        = cidrsubnet(var.network, 8, each.value)
  tags              = { Name = "${var.name}-inner-${each.key}" }
}

# The balancer alone stands here.
resource "aws_subnet" "edge" {
  for_each          = local.zones
  vpc_id            = aws_vpc.all.id
  availability_zone = "${var.region}${each.key}"
  cidr_block        = cidrsubnet(var.network, 8, 100 + each.value)
  tags              = { Name = "${var.name}-edge-${each.key}" }
}

resource "aws_route_table" "inner" {
  vpc_id = aws_vpc.all.id
  tags   = { Name = "${var.name}-inner" }
}

resource "aws_route_table_association" "inner" {
  for_each       = aws_subnet.inner
  subnet_id      = each.value.id
  route_table_id = aws_route_table.inner.id
}

resource "aws_route_table" "edge" {
  vpc_id = aws_vpc.all.id
  tags   = { Name = "${var.name}-edge" }
}

resource "aws_route_table_association" "edge" {
  for_each       = aws_subnet.edge
  subnet_id      = each.value.id
  route_table_id = aws_route_table.edge.id
}

resource "aws_internet_gateway" "edge" {
  count  = var.public ? 1 : 0
  vpc_id = aws_vpc.all.id
}

resource "aws_route" "out" {
  count                  = var.public ? 1 : 0
  route_table_id         = aws_route_table.edge.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.edge[0].id
}

# By this way to S3 our own bucket is reached, and the one that ECR keeps images in; no other.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.all.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.inner.id]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OurBucket"
        Effect    = "Allow"
        Principal = "*"
        Action    = concat(local.object_actions, ["s3:ListBucket"])
        Resource  = [aws_s3_bucket.objects.arn, "${aws_s3_bucket.objects.arn}/*"]
      },
      {
        Sid       = "LayersOfImages"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject"]
        Resource  = ["arn:aws:s3:::prod-${var.region}-starport-layer-bucket/*"]
      },
    ]
  })
}

resource "aws_vpc_endpoint" "of" {
  for_each            = local.endpoints
  vpc_id              = aws_vpc.all.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  private_dns_enabled = true
  subnet_ids          = [for one in aws_subnet.inner : one.id]
  security_group_ids  = [each.key == "kms" ? aws_security_group.kms.id : aws_security_group.endpoints.id]
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The balancer: callers come in, serve is reached"
  vpc_id      = aws_vpc.all.id
}

resource "aws_security_group" "task" {
  for_each    = local.tasks
  name        = "${var.name}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = aws_vpc.all.id
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "The database: tasks come in, nothing goes out"
  vpc_id      = aws_vpc.all.id
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Endpoints to AWS that every task needs"
  vpc_id      = aws_vpc.all.id
}

resource "aws_security_group" "kms" {
  name        = "${var.name}-kms"
  description = "The endpoint to KMS: tasks with keys alone"
  vpc_id      = aws_vpc.all.id
}

# What may be said, a line each: from, to, port. Each is let out on one side and in on the other.
locals {
  groups = merge(
    { for name, group in aws_security_group.task : name => group.id },
    {
      balancer  = aws_security_group.balancer.id
      database  = aws_security_group.database.id
      endpoints = aws_security_group.endpoints.id
      kms       = aws_security_group.kms.id
    },
  )
  talks = merge(
    { "balancer serve" = 8700 },
    { for name in keys(local.tasks) : "${name} database" => 5432 },
    { for name in keys(local.tasks) : "${name} endpoints" => 443 },
    { for name, task in local.tasks : "${name} kms" => 443 if task.keyed },
  )
}

resource "aws_vpc_security_group_egress_rule" "talk" {
  for_each                     = local.talks
  security_group_id            = local.groups[split(" ", each.key)[0]]
  referenced_security_group_id = local.groups[split(" ", each.key)[1]]
  description                  = "to ${split(" ", each.key)[1]}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_ingress_rule" "talk" {
  for_each                     = local.talks
  security_group_id            = local.groups[split(" ", each.key)[1]]
  referenced_security_group_id = local.groups[split(" ", each.key)[0]]
  description                  = "from ${split(" ", each.key)[0]}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each          = local.tasks
  security_group_id = aws_security_group.task[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  description       = "to S3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each          = var.callers
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = each.key
  description       = "callers"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
