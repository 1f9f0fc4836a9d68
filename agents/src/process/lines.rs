//! Splits a stream of any bytes into lines of limited length.

use tokio::io::{AsyncRead, AsyncReadExt};

/// One line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line without its end, cut at the maximum length.
    pub bytes: Vec<u8>,
    /// Whether the line was cut.
    pub cut: bool,
    /// Number of bytes in the stream, including the end of the line.
    pub whole_length: u64,
}

/// Reads lines. Holds at most one line and one block of the stream, and never reads more than
/// allowed: a line that never ends cannot bypass the limit.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    max_length: usize,
    allowed: u64,
    block: Vec<u8>,
    /// Unread part of the block.
    rest: std::ops::Range<usize>,
    line: Vec<u8>,
    length: u64,
    ended: bool,
}

impl<R: AsyncRead + Unpin + Send> LineReader<R> {
    /// Creates a reader of lines of at most `max_length` bytes. Longer lines are cut. The reader
    /// accepts `allowed` bytes in total.
    pub fn new(source: R, max_length: usize, allowed: u64) -> Self {
        Self {
            source,
            max_length,
            allowed,
            block: vec![0; 32 << 10],
            rest: 0..0,
            line: Vec::new(),
            length: 0,
            ended: false,
        }
    }

    /// Allows `allowed` bytes from now on.
    pub fn allow(&mut self, allowed: u64) {
        self.allowed = allowed;
    }

    /// Returns the next line. Returns `None` at the end of the stream. A last line without an end
    /// counts. Dropping the future and calling again loses nothing.
    ///
    /// # Errors
    ///
    /// Fails as the stream does, and with [`std::io::ErrorKind::FileTooLarge`] if it is longer than
    /// allowed.
    pub async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if self.rest.is_empty() {
                if self.ended {
                    return Ok(None);
                }
                let read = self.source.read(&mut self.block).await?;
                self.rest = 0..read;
                self.allowed = self.allowed.checked_sub(read as u64).ok_or_else(|| {
                    std::io::Error::new(
                        std::io::ErrorKind::FileTooLarge,
                        "the stream is longer than allowed",
                    )
                })?;
                if read == 0 {
                    self.ended = true;
                    return Ok((self.length > 0).then(|| self.complete_line()));
                }
            }
            let unread = &self.block[self.rest.clone()];
            let end = unread.iter().position(|&byte| byte == b'\n');
            let piece = &unread[..end.unwrap_or(unread.len())];
            let free = self.max_length.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(free)]);
            let used = piece.len() + usize::from(end.is_some());
            self.length += used as u64;
            self.rest.start += used;
            if end.is_some() {
                return Ok(Some(self.complete_line()));
            }
        }
    }

    fn complete_line(&mut self) -> Line {
        let mut bytes = std::mem::take(&mut self.line);
        let whole_length = std::mem::take(&mut self.length);
        let cut = whole_length > bytes.len() as u64 + 1;
        if !cut && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Line {
            bytes,
            cut,
            whole_length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(bytes: &[u8], max_length: usize) -> Vec<Line> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut reader = LineReader::new(bytes, max_length, u64::MAX);
            let mut lines = Vec::new();
            while let Some(line) = reader.next().await.expect("a slice never fails") {
                lines.push(line);
            }
            lines
        })
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_marked() {
        let lines = read_all(b"abcdef\nxy\n", 3);
        assert_eq!(
            (lines[0].bytes.as_slice(), lines[0].cut),
            (b"abc".as_slice(), true)
        );
        assert_eq!(
            (lines[1].bytes.as_slice(), lines[1].cut),
            (b"xy".as_slice(), false)
        );
    }

    #[tokio::test]
    async fn a_line_without_an_end_stops_at_the_limit() {
        let mut reader = LineReader::new(tokio::io::repeat(b'x'), 10, 1 << 20);
        let error = reader.next().await.expect_err("an endless line");
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_half_line_at_the_end_counts() {
        assert_eq!(read_all(b"one\ntwo", 10).len(), 2);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let lines = read_all(&bytes, 1 << 20);
            let total: u64 = lines.iter().map(|line| line.whole_length).sum();
            prop_assert_eq!(total, bytes.len() as u64);
            prop_assert!(lines.iter().all(|line| !line.cut && !line.bytes.contains(&b'\n')));
        }
    }
}
