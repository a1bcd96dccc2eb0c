//! The answer of getEdoc while it streams by: a JSON object whose `data` is a packet in base64, too long to be held.

use std::io;

use super::client::{AnswerError, Verdict, shown_words, text, verdict};
use crate::edxml::base64::{Base64Defect, Decoder};

/// Longest text or name that is held of an answer, in bytes.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Why an answer with a packet cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum EdocError {
    /// It is none.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// It stops or goes on where it should not.
    #[error("the answer is damaged: {0}")]
    Damaged(&'static str),
    /// It says no.
    #[error("{}: {}", .0.code, .0.description)]
    Refused(Verdict),
    /// Where the packet goes.
    #[error("the packet cannot be taken")]
    Sink(#[from] io::Error),
}

impl From<Base64Defect> for EdocError {
    fn from(defect: Base64Defect) -> Self {
        Self::Damaged(match defect {
            Base64Defect::AfterPadding => "the packet goes on behind its end",
            Base64Defect::Truncated => NOT_BASE64,
        })
    }
}

const NOT_BASE64: &str = "the packet is not in base64";

/// Reads the answer in pieces of any length; the packet's bytes go to the sink that each call is given.
#[derive(Debug, Default)]
pub struct EdocReply {
    state: State,
    held: Vec<u8>,
    escaped: bool,
    fields: Vec<(String, String)>,
    name: String,
    base64: Decoder,
    data: bool,
    first: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the object.
    #[default]
    Before,
    /// Before a name, or the object's end.
    Name,
    InName,
    Colon,
    Value,
    InText,
    InData,
    /// A number, true, false, null.
    Scalar,
    /// An object or array, so deep.
    Nested(u32),
    NestedText(u32),
    Comma,
    End,
}

/// Deepest structure that is passed over.
const DEPTH_MAX: u32 = 64;

impl EdocReply {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When it is no answer, or the sink fails.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn io::Write) -> Result<(), EdocError> {
        let room = 80usize.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(bytes.get(..room).unwrap_or_default());
        let mut left = bytes;
        while let Some((byte, behind)) = left.split_first() {
            let (letters, rest) = left.split_at(self.letters_of(left));
            if letters.is_empty() {
                self.take(*byte, sink)?;
                left = behind;
            } else {
                self.decode(letters, sink)?;
                left = rest;
            }
        }
        Ok(())
    }

    /// The end of the answer.
    ///
    /// # Errors
    /// When it is not whole, says no, or holds no packet.
    pub fn finish(mut self, sink: &mut dyn io::Write) -> Result<(), EdocError> {
        if self.first.iter().all(u8::is_ascii_whitespace) {
            return Err(AnswerError::Empty.into());
        }
        if self.state != State::End {
            return Err(EdocError::Damaged("it ends too soon"));
        }
        self.base64.finish::<EdocError>(&mut |plain| Ok(sink.write_all(plain)?))?;
        let field = |name: &str| {
            let found = self.fields.iter().find(|(field, _)| field == name);
            found.map(|(_, text)| text.clone()).filter(|text| !text.is_empty())
        };
        let verdict = verdict(field)?;
        if !verdict.ok {
            return Err(EdocError::Refused(verdict));
        }
        if !self.data {
            return Err(AnswerError::Missing("data").into());
        }
        Ok(())
    }

    fn take(&mut self, byte: u8, sink: &mut dyn io::Write) -> Result<(), EdocError> {
        let blank = byte.is_ascii_whitespace();
        match self.state {
            State::Before if blank || matches!(byte, 0xef | 0xbb | 0xbf) => {}
            State::Before if byte == b'{' => self.state = State::Name,
            State::Before => {
                return Err(AnswerError::NotJson(shown_words(&String::from_utf8_lossy(&self.first))).into());
            }
            State::Name | State::Colon | State::Value | State::Comma if blank => {}
            State::Name if byte == b'"' => self.begin(State::InName),
            State::Name | State::Comma if byte == b'}' => self.state = State::End,
            State::InName => {
                if self.in_text(byte)? {
                    self.name = self.decoded()?;
                    self.state = State::Colon;
                }
            }
            State::Colon if byte == b':' => self.state = State::Value,
            State::Value => self.value(byte)?,
            State::InText => {
                if self.in_text(byte)? {
                    let value = self.decoded()?;
                    self.field(value)?;
                    self.state = State::Comma;
                }
            }
            State::InData => self.in_data(byte, sink)?,
            State::Scalar if matches!(byte, b',' | b'}') => {
                let value = serde_json::from_slice(&self.held).map_err(|_| EdocError::Damaged("a value is none"))?;
                self.field(text(&value))?;
                self.state = if byte == b',' { State::Name } else { State::End };
            }
            State::Scalar => self.hold(byte)?,
            State::Nested(depth) => self.nested(byte, depth)?,
            State::NestedText(depth) => {
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.state = State::Nested(depth);
                }
            }
            State::Comma if byte == b',' => self.state = State::Name,
            State::End if blank => {}
            State::Name | State::Colon | State::Comma | State::End => {
                return Err(EdocError::Damaged("it is no JSON object"));
            }
        }
        Ok(())
    }

    /// How many bytes from here on are the packet's, with nothing of JSON between them.
    fn letters_of(&self, bytes: &[u8]) -> usize {
        if self.state != State::InData || self.escaped {
            return 0;
        }
        bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len())
    }

    fn decode(&mut self, letters: &[u8], sink: &mut dyn io::Write) -> Result<(), EdocError> {
        self.base64.push::<EdocError>(letters, &mut |plain| Ok(sink.write_all(plain)?))?;
        if self.base64.junk > 0 {
            return Err(EdocError::Damaged(NOT_BASE64));
        }
        Ok(())
    }

    fn begin(&mut self, state: State) {
        self.held.clear();
        self.escaped = false;
        self.state = state;
    }

    fn hold(&mut self, byte: u8) -> Result<(), EdocError> {
        if self.held.len() >= HELD_BYTES_MAX {
            return Err(EdocError::Damaged("a text in it is too long"));
        }
        self.held.push(byte);
        Ok(())
    }

    /// True at the text's end.
    fn in_text(&mut self, byte: u8) -> Result<bool, EdocError> {
        if !self.escaped && byte == b'"' {
            return Ok(true);
        }
        self.escaped = !self.escaped && byte == b'\\';
        self.hold(byte)?;
        Ok(false)
    }

    fn decoded(&self) -> Result<String, EdocError> {
        let quoted = [b"\"".as_slice(), &self.held, b"\""].concat();
        serde_json::from_slice(&quoted).map_err(|_| EdocError::Damaged("a text in it is none"))
    }

    fn field(&mut self, value: String) -> Result<(), EdocError> {
        if self.fields.len() >= 100 {
            return Err(EdocError::Damaged("it has too many fields"));
        }
        self.fields.push((std::mem::take(&mut self.name), value));
        Ok(())
    }

    fn value(&mut self, byte: u8) -> Result<(), EdocError> {
        match byte {
            b'"' if self.name == "data" => {
                if std::mem::replace(&mut self.data, true) {
                    return Err(EdocError::Damaged("it holds two packets"));
                }
                self.begin(State::InData);
            }
            b'"' => self.begin(State::InText),
            b'{' | b'[' => self.state = State::Nested(1),
            _ => {
                self.begin(State::Scalar);
                self.hold(byte)?;
            }
        }
        Ok(())
    }

    fn nested(&mut self, byte: u8, depth: u32) -> Result<(), EdocError> {
        self.state = match byte {
            b'"' => {
                self.escaped = false;
                State::NestedText(depth)
            }
            b'{' | b'[' if depth >= DEPTH_MAX => return Err(EdocError::Damaged("it is nested too deeply")),
            b'{' | b'[' => State::Nested(depth + 1),
            b'}' | b']' if depth == 1 => State::Comma,
            b'}' | b']' => State::Nested(depth - 1),
            _ => State::Nested(depth),
        };
        Ok(())
    }

    /// Base64 with what JSON may have escaped in it: `\/`, line ends, `\u002b`.
    fn in_data(&mut self, byte: u8, sink: &mut dyn io::Write) -> Result<(), EdocError> {
        if self.escaped {
            self.held.push(byte);
            let done = match self.held.first() {
                Some(b'u') if self.held.len() < 5 => return Ok(()),
                Some(b'u') => {
                    let digits = self.held.get(1..).and_then(|digits| std::str::from_utf8(digits).ok());
                    let code = digits.and_then(|digits| u8::from_str_radix(digits.trim_start_matches("00"), 16).ok());
                    code.ok_or(EdocError::Damaged(NOT_BASE64))?
                }
                Some(b'n' | b'r' | b't') => b'\n',
                Some(other) => *other,
                None => b'\n',
            };
            self.escaped = false;
            return self.decode(&[done], sink);
        }
        match byte {
            b'"' => self.state = State::Comma,
            b'\\' => {
                self.held.clear();
                self.escaped = true;
            }
            _ => self.decode(&[byte], sink)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL_NOPAD};

    use super::*;

    fn read(answer: &[u8], piece: usize) -> Result<Vec<u8>, EdocError> {
        let (mut reply, mut packet) = (EdocReply::default(), Vec::new());
        for piece in answer.chunks(piece) {
            reply.push(piece, &mut packet)?;
        }
        reply.finish(&mut packet)?;
        Ok(packet)
    }

    #[test]
    fn a_packet_comes_out_however_the_answer_is_cut_and_written() {
        for length in 0..40_u8 {
            let packet: Vec<u8> = (0..length).map(|n| n.wrapping_mul(67)).collect();
            let plain = BASE64.encode(&packet);
            let escaped = plain.replace('/', "\\/").replace('+', "\\u002b");
            let wrapped =
                plain.as_bytes().chunks(5).map(|c| String::from_utf8_lossy(c)).collect::<Vec<_>>().join("\\r\\n");
            for data in [plain, escaped, wrapped, BASE64URL_NOPAD.encode(&packet)] {
                let answers = [
                    format!(r#"{{"status":"OK","ErrorCode":"0","ErrorDesc":"Success","data":"{data}"}}"#),
                    format!(
                        " {{ \"data\" : \"{data}\",\r\n\"x\":{{\"a\":[1,\"}}\\\"\"]}},\"n\":null,\"ErrorCode\":0,\"status\":\"OK\"}} "
                    ),
                ];
                for (answer, piece) in answers.iter().flat_map(|answer| [1, 7, 4_096].map(|piece| (answer, piece))) {
                    assert_eq!(read(answer.as_bytes(), piece).unwrap(), packet, "{answer}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_answer_or_half_of_one_is_told() {
        assert!(matches!(read(b"", 9), Err(EdocError::Answer(AnswerError::Empty))));
        assert!(matches!(read(b"<html>", 9), Err(EdocError::Answer(AnswerError::NotJson(_)))));
        assert!(matches!(read(br#"{"ErrorCode":"0","data":"QUJD"#, 9), Err(EdocError::Damaged(_))));
        assert!(matches!(read(br#"{"ErrorCode":"0","data":"QUJD"} x"#, 9), Err(EdocError::Damaged(_))));
        assert!(matches!(read(br#"{"ErrorCode":"0","data":"<edXML"}"#, 9), Err(EdocError::Damaged(_))));
        assert!(matches!(read(br#"{"ErrorCode":"0","data":"QUJD","data":"QUJD"}"#, 9), Err(EdocError::Damaged(_))));
        assert!(matches!(
            read(br#"{"ErrorCode":"0","status":"OK"}"#, 9),
            Err(EdocError::Answer(AnswerError::Missing("data")))
        ));
        let refused = read(br#"{"status":"FAIL","ErrorCode":"6","ErrorDesc":"none","data":""}"#, 9);
        assert!(matches!(refused, Err(EdocError::Refused(verdict)) if verdict.code == "6"));
        let deep = format!(r#"{{"a":{}"#, "[".repeat(1_000));
        assert!(matches!(read(deep.as_bytes(), 9), Err(EdocError::Damaged(_))));
        let long = format!(r#"{{"a":"{}"#, "x".repeat(HELD_BYTES_MAX * 2));
        assert!(matches!(read(long.as_bytes(), 999), Err(EdocError::Damaged(_))));
    }
}
