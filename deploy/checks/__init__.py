"""`make deploy-check`: looks at deploy/ with the tools that read it, and runs none of it."""
