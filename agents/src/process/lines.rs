//! Lines out of a stream, each at most so long, whatever the bytes are.

use tokio::io::{AsyncRead, AsyncReadExt};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line without its end, cut where it is too long.
    pub bytes: Vec<u8>,
    /// Whether something was cut off.
    pub cut: bool,
    /// How many bytes the line has on the wire, with its end.
    pub whole_length: u64,
}

/// Reads lines. Holds no more than one line and one block of the stream, and reads no more than it
/// is allowed: a line that never ends is no way around a limit.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    most: usize,
    allowed: u64,
    block: Vec<u8>,
    /// What of the block is not yet used.
    rest: std::ops::Range<usize>,
    line: Vec<u8>,
    length: u64,
    ended: bool,
}

impl<R: AsyncRead + Unpin + Send> LineReader<R> {
    /// Reads lines of at most `most` bytes; longer ones are cut. Reads `allowed` bytes in all.
    pub fn new(source: R, most: usize, allowed: u64) -> Self {
        Self {
            source,
            most,
            allowed,
            block: vec![0; 32 << 10],
            rest: 0..0,
            line: Vec::new(),
            length: 0,
            ended: false,
        }
    }

    /// Allows `allowed` bytes from here on.
    pub fn allow(&mut self, allowed: u64) {
        self.allowed = allowed;
    }

    /// The next line; none at the end. A last line without an end counts. Safe to drop and call
    /// again: nothing that was read is lost.
    ///
    /// # Errors
    ///
    /// Those of the stream; [`std::io::ErrorKind::FileTooLarge`] where more is read than is allowed.
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
                        "more was written than is allowed",
                    )
                })?;
                if read == 0 {
                    self.ended = true;
                    return Ok((self.length > 0).then(|| self.take()));
                }
            }
            let unread = &self.block[self.rest.clone()];
            let end = unread.iter().position(|&byte| byte == b'\n');
            let piece = &unread[..end.unwrap_or(unread.len())];
            let room = self.most.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            self.length += used as u64;
            self.rest.start += used;
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
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

    fn all(bytes: &[u8], most: usize) -> Vec<Line> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut reader = LineReader::new(bytes, most, u64::MAX);
            let mut lines = Vec::new();
            while let Some(line) = reader.next().await.expect("a slice never fails") {
                lines.push(line);
            }
            lines
        })
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so() {
        let lines = all(b"abcdef\nxy\n", 3);
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
        assert_eq!(all(b"one\ntwo", 10).len(), 2);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let lines = all(&bytes, 1 << 20);
            let total: u64 = lines.iter().map(|line| line.whole_length).sum();
            prop_assert_eq!(total, bytes.len() as u64);
            prop_assert!(lines.iter().all(|line| !line.cut && !line.bytes.contains(&b'\n')));
        }
    }
}
