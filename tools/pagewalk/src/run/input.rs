//! Standard input that is no terminal.

use std::io::{self, BufRead, BufReader, Read};

/// Most bytes of one piece.
const MOST: u64 = 4096;

/// Reads standard input in pieces whose bounds depend on its contents alone: a line, or
/// 4,096 bytes of a longer one. So what a guest's `read` returns doesn't depend on how the
/// host's pipe was filled.
pub struct Input<R> {
    source: BufReader<R>,
}

impl<R: Read> Input<R> {
    /// Reads `source`.
    pub fn new(source: R) -> Self {
        Input { source: BufReader::new(source) }
    }

    /// The next piece, waiting for it; empty at the end.
    pub fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        (&mut self.source).take(MOST).read_until(b'\n', &mut piece)?;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte a read.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn pieces(source: impl Read) -> Vec<Vec<u8>> {
        let mut input = Input::new(source);
        std::iter::from_fn(|| Some(input.next_piece().unwrap()).filter(|p| !p.is_empty())).collect()
    }

    #[test]
    fn pieces_are_the_same_however_the_source_is_cut() {
        let text = [b"one\ntwo\n".as_slice(), &[b'x'; 5000], b"\nend"].concat();
        let whole = pieces(text.as_slice());
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4096, 905, 3]);
        assert_eq!(pieces(Drip(&text)), whole);
    }
}
