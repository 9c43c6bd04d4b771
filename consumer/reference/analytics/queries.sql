-- name: add
-- In order, so that the readers of two partitions wait for each other and not in a circle.
INSERT INTO analytics.event_count AS c (minute, entity, operation, events)
SELECT date_trunc('minute', at), entity, operation, count(*)
  FROM unnest($1::timestamptz[], $2::text[], $3::text[]) AS given (at, entity, operation)
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 3
ON CONFLICT (minute, entity, operation) DO UPDATE SET events = c.events + excluded.events;
