"""`tightbeam fleet-exporter`: reads what hosts said of themselves from Redis and shows it to Prometheus."""
