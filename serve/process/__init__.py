"""The life of the processes: workers, their end, their logs, and deadlines for what may hang."""
