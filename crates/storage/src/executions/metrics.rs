//! The daily numbers' fixed histogram.

/// Upper bounds of the histogram in milliseconds, with the column of each; what is longer is in `over_1_h`.
pub(super) const BUCKETS: [(i64, &str); 15] = [
    (10, "le_10_ms"),
    (25, "le_25_ms"),
    (50, "le_50_ms"),
    (100, "le_100_ms"),
    (250, "le_250_ms"),
    (500, "le_500_ms"),
    (1_000, "le_1_s"),
    (2_500, "le_2500_ms"),
    (5_000, "le_5_s"),
    (10_000, "le_10_s"),
    (30_000, "le_30_s"),
    (60_000, "le_1_min"),
    (300_000, "le_5_min"),
    (900_000, "le_15_min"),
    (3_600_000, "le_1_h"),
];

const LAST: &str = "over_1_h";

/// An `INSERT … SELECT … ON CONFLICT` that adds the ends in the relation `done` (columns `completed_at`, `scope`,
/// `workflow_name`, `status`, `duration_ms`, `cpu_seconds`, `peak_memory_bytes`) to the daily numbers: one row per day, scope and workflow
/// and batch, because such a row is hot. Rows are taken in key order, so that two workers never wait for each other crosswise.
pub(super) fn upsert(done: &str, date: &str) -> String {
    let mut columns = vec![
        "success_count",
        "completed_with_errors_count",
        "failed_count",
        "timeout_count",
        "cancelled_count",
        "duration_ms_sum",
        "cpu_seconds_sum",
    ];
    let mut values: Vec<String> = ["Success", "CompletedWithErrors", "Failed", "Timeout", "Cancelled"]
        .iter()
        .map(|status| format!("sum(CASE WHEN status = '{status}' THEN 1 ELSE 0 END)"))
        .collect();
    values.push("sum(duration_ms)".into());
    values.push("coalesce(sum(cpu_seconds), 0.0)".into());
    let mut low = -1;
    for (high, column) in BUCKETS {
        columns.push(column);
        values
            .push(format!("sum(CASE WHEN duration_ms > {low} AND duration_ms <= {high} THEN 1 ELSE 0 END)"));
        low = high;
    }
    columns.push(LAST);
    values.push(format!("sum(CASE WHEN duration_ms > {low} THEN 1 ELSE 0 END)"));
    let adds: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} = execution_metrics_daily.{column} + excluded.{column}"))
        .collect();
    let greatest = |column: &str| {
        format!(
            "{column} = CASE WHEN excluded.{column} > execution_metrics_daily.{column} THEN excluded.{column} \
             ELSE execution_metrics_daily.{column} END"
        )
    };
    format!(
        "INSERT INTO execution_metrics_daily (date, scope, workflow_name, {}, duration_ms_max, peak_memory_bytes_max) \
         SELECT {date}, scope, workflow_name, {}, max(duration_ms), coalesce(max(peak_memory_bytes), 0) \
         FROM {done} WHERE true GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 \
         ON CONFLICT (date, scope, workflow_name) DO UPDATE SET {}, {}, {}",
        columns.join(", "),
        values.join(", "),
        adds.join(", "),
        greatest("duration_ms_max"),
        greatest("peak_memory_bytes_max"),
    )
}
