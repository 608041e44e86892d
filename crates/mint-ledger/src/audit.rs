//! The audit: are the totals that the ledger stored those of the rows beside them? Both are read in one read
//! transaction, so that the answer holds while the mint runs.

use std::{fmt, path::Path, sync::Arc};

use stats_push::Totals;

use crate::{
    error::LedgerError,
    sqlite::{Both, File},
    tally::{Figures, Tally},
};

/// Compares the totals stored in the mint's database file with one SQL aggregate over its quotes.
///
/// Blocks for about half a second a million quotes; never writes, and does not hold up the mint's writer.
///
/// # Errors
/// If the file can't be read, or holds no totals yet.
pub fn audit(database: &Path) -> Result<Audit, LedgerError> {
    let file = File::new(database);
    let Both { stored, counted } = file.both()?;
    let stored = stored.ok_or_else(|| LedgerError::NoTotals {
        path: database.to_owned(),
    })?;
    Ok(Audit::compare(&stored, counted))
}

/// What an [`audit`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The version at which both were read.
    pub version: u64,
    /// What SQL counts, at that version. `last_issued_at` has whole seconds here: CDK stores no more, and the audit does
    /// not compare it.
    pub counted: Totals,
    /// Where ledger and rows differ. Empty is the only good answer.
    pub differences: Vec<Difference>,
}

/// One figure on which the ledger and the rows differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The currency unit.
    pub unit: Arc<str>,
    /// Which figure.
    pub figure: &'static str,
    /// What the ledger says.
    pub ledger: u128,
    /// What SQL counts.
    pub database: u128,
}

impl Audit {
    fn compare(stored: &Tally, mut counted: Tally) -> Self {
        counted.version = stored.version;
        let figures_in = |tally: &Tally, unit: &Arc<str>| {
            let found = tally.units.iter().find(|known| known.unit == *unit);
            found.map_or_else(Figures::default, |known| known.figures)
        };
        let mut units: Vec<_> = counted.units.iter().map(|unit| Arc::clone(&unit.unit)).collect();
        for unit in &stored.units {
            if !units.contains(&unit.unit) {
                units.push(Arc::clone(&unit.unit));
            }
        }
        let mut differences = Vec::new();
        for unit in units {
            let (ledger, database) = (figures_in(stored, &unit), figures_in(&counted, &unit));
            for ((figure, ledger), (_, database)) in ledger.named().into_iter().zip(database.named()) {
                if ledger != database {
                    differences.push(Difference {
                        unit: Arc::clone(&unit),
                        figure,
                        ledger,
                        database,
                    });
                }
            }
        }
        Self {
            version: stored.version,
            counted: counted.totals(),
            differences,
        }
    }

    /// Whether ledger and rows agree in every figure of every unit.
    pub fn is_consistent(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Audit {
    /// One line if all is well, else one line for each difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            counted,
            differences,
        } = self;
        if differences.is_empty() {
            return write!(
                f,
                "the ledger agrees with the database at version {version}: {} quotes redeemed, {} ehash issued, {} units",
                counted.ehash.quotes_redeemed,
                counted.ehash.amounts.issued,
                counted.units.len()
            );
        }
        write!(f, "the ledger differs from the database at version {version}:")?;
        for Difference {
            unit,
            figure,
            ledger,
            database,
        } in differences
        {
            write!(f, "\n  {unit}: {figure}: ledger {ledger}, database {database}")?;
        }
        Ok(())
    }
}
