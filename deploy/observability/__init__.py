"""What watches a cluster: alert rules, dashboards, and a Prometheus beside a local cluster to try them on."""
