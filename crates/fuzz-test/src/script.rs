//! How bytes become what a hostile peer does: frames that it says, time that it lets pass, and what only a target knows.
//!
//! Every string of bytes is a script, and a byte more or less changes as little of it as possible: lengths that point
//! past the end mean the rest.

use std::time::Duration;

use sv2_transport::{Frame, HEADER, MAX_PAYLOAD};

/// One move of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It says this.
    Say(Frame),
    /// It is silent for this long.
    Wait(Duration),
    /// Something that the target gives a meaning, with an argument.
    Own(u8, u8),
}

/// The moves of a script: a byte `0x80` or above, then a frame; 0, then tenths of a second to wait; or any other byte and
/// the argument to that move. At most [`Moves::MOST`] of them, and they wait for [`Moves::LONGEST`] altogether.
#[derive(Clone, Debug)]
pub struct Moves<'a> {
    rest: &'a [u8],
    left: usize,
    time: Duration,
}

impl<'a> Moves<'a> {
    /// Moves of one script.
    pub const MOST: usize = 256;
    /// The time that one script takes: longer than every deadline of a session.
    pub const LONGEST: Duration = Duration::from_secs(120);

    /// The moves of `script`.
    pub fn new(script: &'a [u8]) -> Self {
        Self {
            rest: script,
            left: Self::MOST,
            time: Self::LONGEST,
        }
    }
}

impl Iterator for Moves<'_> {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        self.left = self.left.checked_sub(1)?;
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        if tag >= 0x80 {
            return take_frame(&mut self.rest).map(Move::Say);
        }
        let (&argument, rest) = self.rest.split_first()?;
        self.rest = rest;
        if tag != 0 {
            return Some(Move::Own(tag, argument));
        }
        let wait = Duration::from_millis(100) * u32::from(argument);
        let wait = wait.min(self.time);
        self.time -= wait;
        Some(Move::Wait(wait))
    }
}

/// The frames that `bytes` are when they are written one after the other.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || take_frame(&mut bytes))
}

/// The frame at the front of `bytes`, whose payload may end before its time; `None` without a whole header.
fn take_frame(bytes: &mut &[u8]) -> Option<Frame> {
    let (&[e0, e1, msg_type, l0, l1, l2], rest) = bytes.split_first_chunk::<HEADER>()?;
    let length = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
    let (payload, rest) = rest.split_at(length.min(rest.len()).min(MAX_PAYLOAD));
    *bytes = rest;
    let extension = u16::from_le_bytes([e0, e1]);
    Some(Frame {
        channel_msg: extension & 0x8000 != 0,
        ..Frame::new(extension, msg_type, payload.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_frames_waits_and_moves_of_the_targets_own() {
        let said = Frame {
            channel_msg: true,
            ..Frame::new(3, 0x80, vec![7, 8])
        };
        let mut script = vec![0xFF];
        script.extend(said.to_bytes().unwrap());
        script.extend([0, 25, 4, 9, 0x80, 1, 0, 2, 0xFF, 0xFF, 0xFF, 1]);
        let cut = Frame::new(1, 2, vec![1]);
        let moves: Vec<_> = Moves::new(&script).collect();
        assert_eq!(
            moves,
            [
                Move::Say(said),
                Move::Wait(Duration::from_millis(2500)),
                Move::Own(4, 9),
                Move::Say(cut),
            ]
        );
    }

    #[test]
    fn a_script_is_bounded_in_moves_and_in_time() {
        let waits = [0, 0xFF].repeat(1000);
        let moves: Vec<_> = Moves::new(&waits).collect();
        assert_eq!(moves.len(), Moves::MOST);
        let time: Duration = moves
            .iter()
            .map(|step| if let Move::Wait(time) = step { *time } else { panic!() })
            .sum();
        assert_eq!(time, Moves::LONGEST);
    }
}
