//! stats-push
