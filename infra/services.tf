# The processes: a definition a task, a service for each that is always there.

resource "aws_ecs_cluster" "this" {
  name = var.name
}

resource "aws_cloudwatch_log_group" "task" {
  for_each          = local.tasks
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
}

resource "aws_ecs_task_definition" "task" {
  for_each                 = local.tasks
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 2048
  memory                   = 8192
  task_role_arn            = aws_iam_role.task[each.key].arn
  execution_role_arn       = aws_iam_role.starting.arn
  container_definitions = jsonencode([{
    name         = "meterkeep"
    image        = var.image
    essential    = true
    privileged   = false
    command      = concat(["meterkeep"], each.value.command)
    environment  = [for name, value in local.settings[each.key] : { name = name, value = value }]
    secrets      = [{ name = "PGPASSWORD", valueFrom = "${local.password}:password::" }]
    portMappings = each.key == "serve" ? [{ containerPort = 8700, protocol = "tcp" }] : []
    stopTimeout  = 60
    healthCheck = {
      command     = ["CMD", "python", "-c", local.alive]
      interval    = 60
      timeout     = 20
      retries     = 3
      startPeriod = 60
    }
    linuxParameters = { initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.task[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "task" {
  for_each               = { for name, task in local.tasks : name => task if task.count > 0 }
  name                   = each.key
  cluster                = aws_ecs_cluster.this.id
  task_definition        = aws_ecs_task_definition.task[each.key].arn
  desired_count          = each.value.count
  launch_type            = "FARGATE"
  enable_execute_command = false
  propagate_tags         = "SERVICE"

  health_check_grace_period_seconds = each.key == "serve" ? 120 : null

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = [for one in aws_subnet.inner : one.id]
    security_groups  = [aws_security_group.task[each.key].id]
    assign_public_ip = false
  }
  dynamic "load_balancer" {
    for_each = each.key == "serve" ? [aws_lb_target_group.serve.arn] : []
    content {
      target_group_arn = load_balancer.value
      container_name   = "meterkeep"
      container_port   = 8700
    }
  }
  depends_on = [aws_lb_listener.https, aws_iam_role_policy.objects, aws_iam_role_policy.keys, aws_iam_role_policy.starting]
}
