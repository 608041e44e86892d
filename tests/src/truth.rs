//! What is true: one SQL aggregate over the mint's database file, written apart from the ledger that it judges.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// The figures of all ehash units in the mint's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Quotes of which anything was issued.
    pub redeemed: u64,
    /// Quotes in state UNPAID, PAID and ISSUED.
    pub quotes: [u64; 3],
    /// Amounts unpaid, paid and issued.
    pub amounts: [u64; 3],
}

/// Counts the quotes in the mint's database.
pub fn truth(database: &Path) -> Truth {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut quotes = connection
        .prepare(
            "SELECT COALESCE(amount, 0), amount_paid, amount_issued FROM mint_quote \
             WHERE unit = 'hash' OR unit LIKE 'hash\\_%' ESCAPE '\\'",
        )
        .unwrap();
    let rows = quotes
        .query_map([], |row| {
            Ok([row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?])
        })
        .unwrap();
    let mut truth = Truth::default();
    for row in rows {
        let [asked, paid, issued] = row.unwrap().map(|amount| u64::try_from(amount).unwrap());
        let (state, amount) = match (paid, issued) {
            (0, 0) => (0, asked),
            _ if paid > issued => (1, paid - issued),
            _ => (2, 0),
        };
        truth.quotes[state] += 1;
        truth.amounts[state] += amount;
        truth.amounts[2] += issued;
        truth.redeemed += u64::from(issued > 0);
    }
    truth
}

impl Truth {
    /// The same figures as a dashboard's JSON tells them; `None` if it does not know.
    pub fn shown(stats: &Value) -> Option<Self> {
        let per_state = |field: &str| -> Option<[u64; 3]> {
            let states = ["unpaid", "paid", "issued"].map(|state| {
                let number = stats.get(field)?.get(state)?;
                number.as_u64().or_else(|| number.as_str()?.parse().ok())
            });
            Some([states[0]?, states[1]?, states[2]?])
        };
        Some(Self {
            redeemed: stats.get("quotes_redeemed")?.as_u64()?,
            quotes: per_state("quotes_by_state")?,
            amounts: per_state("amounts")?,
        })
    }
}
