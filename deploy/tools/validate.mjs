// Holds objects (JSON lines on the standard input) against the published schemas of their kinds; prints what is wrong.
import { readFileSync } from "node:fs";
import * as gateway from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import * as monitoring from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const models = { "gateway.networking.k8s.io/v1": gateway, "monitoring.coreos.com/v1": monitoring };
for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  const thing = JSON.parse(line);
  try {
    new models[thing.apiVersion][thing.kind](thing).validate();
  } catch (error) {
    process.exitCode = 1;
    console.error(`${thing.kind} ${thing.metadata.name}: ${error.message}`);
  }
}
