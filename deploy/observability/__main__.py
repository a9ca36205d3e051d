"""`python -m deploy.observability`: writes what is made of the rules and dashboards."""

from deploy.observability.build import write

write()
