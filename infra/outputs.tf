# What whoever runs it needs to go on.

output "front" {
  description = "Let the name in public_url point here."
  value       = aws_lb.front.dns_name
}

output "operate" {
  description = "What `aws ecs run-task` is told for init and all that is done by hand."
  value = {
    cluster         = aws_ecs_cluster.this.name
    task_definition = aws_ecs_task_definition.task["operate"].family
    subnets         = [for one in aws_subnet.inner : one.id]
    security_group  = aws_security_group.task["operate"].id
  }
}
