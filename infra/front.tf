# The one door: TLS ends here, and from here to `serve` it is plain HTTP within the VPC. Port 80 is not open.

resource "aws_lb" "front" {
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = !var.public
  subnets                    = [for one in aws_subnet.edge : one.id]
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = true
  idle_timeout               = 120
}

resource "aws_lb_target_group" "serve" {
  name                 = "${var.name}-serve"
  vpc_id               = aws_vpc.all.id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8700
  deregistration_delay = 60
  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 4
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.front.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.serve.arn
  }
}

# `serve` believes the balancer (METERKEEP_TRUSTED_PROXIES), which cannot take this header away from what
# a caller sends: whoever sends it is refused.
resource "aws_lb_listener_rule" "no_foreign_certificate" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 1
  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "400"
    }
  }
  condition {
    http_header {
      http_header_name = "Client-Cert"
      values           = ["*"]
    }
  }
}

# How much is asked is nobody's business outside.
resource "aws_lb_listener_rule" "no_metrics" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 2
  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
  condition {
    path_pattern {
      values = ["/metrics", "/metrics/*"]
    }
  }
}
