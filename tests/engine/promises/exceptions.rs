//! What nothing can set yet, each with the capability that it waits for.

/// Fields and words of the schema.
pub(super) const RECORDS: &[(&str, &str)] = &[];

/// Families and label values of the metrics.
pub(super) const METRICS: &[(&str, &str)] = &[];
