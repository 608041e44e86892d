//! mint-ledger
