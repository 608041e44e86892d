//! mint-link
