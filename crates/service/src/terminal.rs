//! Lines for whoever started the service, and may stop reading at any moment (`devnet | head`): a line that can't be
//! written is lost and ends nothing, where `println!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// One line on stdout.
pub fn say(line: impl Display) {
    tell(&mut io::stdout().lock(), line);
}

/// One line on stderr, beside the log.
pub fn remark(line: impl Display) {
    tell(&mut io::stderr().lock(), line);
}

fn tell(stream: &mut impl Write, line: impl Display) {
    // There is nobody to complain to.
    let _ = writeln!(stream, "{line}").and_then(|()| stream.flush());
}
