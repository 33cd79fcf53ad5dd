//! Replies of one connection that wait to be written, in order. Replies are encoded straight into
//! the open chunk; a chunk that has grown large is closed, so that its memory goes as soon as it
//! is written. Knows nothing of sockets.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::OUTPUT_CHUNK_BYTES;

/// Closed chunks, oldest first, and the open one.
#[derive(Debug, Default)]
pub(crate) struct Output {
    closed: VecDeque<Bytes>,
    closed_bytes: usize,
    open: BytesMut,
}

impl Output {
    /// Where the next reply is encoded.
    pub(crate) fn open(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Lends an empty buffer to write into, so that a connection without replies holds none.
    pub(crate) fn lend(&mut self, buffer: BytesMut) {
        if self.open.capacity() == 0 {
            self.open = buffer;
        }
    }

    /// Gives the open chunk's memory back if nothing waits.
    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if !self.is_empty() || self.open.capacity() == 0 {
            return None;
        }
        Some(std::mem::take(&mut self.open))
    }

    /// Closes the open chunk if it is large; called between two replies.
    pub(crate) fn end_reply(&mut self) {
        if OUTPUT_CHUNK_BYTES <= self.open.len() {
            let chunk = std::mem::take(&mut self.open).freeze();
            self.closed_bytes += chunk.len();
            self.closed.push_back(chunk);
        }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.closed_bytes + self.open.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    /// The oldest bytes that wait, in one piece.
    pub(crate) fn front(&self) -> &[u8] {
        match self.closed.front() {
            Some(chunk) => chunk,
            None => &self.open,
        }
    }

    /// Forgets the oldest bytes, which were written.
    pub(crate) fn advance(&mut self, count: usize) {
        let Some(chunk) = self.closed.front_mut() else {
            self.advance_open(count);
            return;
        };
        chunk.advance(count);
        self.closed_bytes -= count;
        if chunk.is_empty() {
            self.closed.pop_front();
        }
    }

    /// Clearing keeps the capacity, which advancing to the end would give away bit by bit.
    fn advance_open(&mut self, count: usize) {
        if count == self.open.len() {
            self.open.clear();
        } else {
            self.open.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_memory_goes_with_them() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for number in 0..9u8 {
            let reply = vec![number; OUTPUT_CHUNK_BYTES / 4 + 1];
            output.open().extend_from_slice(&reply);
            output.end_reply();
            expected.extend_from_slice(&reply);
        }
        assert_eq!(output.len(), expected.len());
        assert!(output.closed.len() == 2 && !output.open.is_empty());
        let mut written = Vec::new();
        while !output.is_empty() {
            let part = output.front()[..output.front().len().min(100_000)].to_vec();
            output.advance(part.len());
            written.extend(part);
        }
        assert_eq!(written, expected);
        assert_eq!(output.len(), 0);
    }

    #[test]
    fn an_empty_output_gives_its_buffer_back() {
        let mut output = Output::default();
        assert!(output.reclaim().is_none());
        output.lend(BytesMut::with_capacity(100));
        output.open().extend_from_slice(b"+OK\r\n");
        assert!(output.reclaim().is_none());
        output.advance(5);
        let buffer = output.reclaim().unwrap();
        assert!(buffer.is_empty() && buffer.capacity() >= 100);
    }
}
