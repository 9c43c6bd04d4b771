"""What each program has around it: settings, log lines, health over HTTP, Redis, a console."""
