//! What a request says: who asks, path and query, JSON. All mistakes of a query are told at once; what nobody knows is refused.

use std::{fmt, ops::RangeInclusive};

use axum::{
    body::Body,
    extract::{FromRequestParts, RawPathParams},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CONTENT_TYPE},
        request::Parts,
    },
};
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt as _;
use truc_proto::limits::{IDEMPOTENCY_KEY_CHARS_MAX, REST_JSON_BYTES_MAX};

use super::{
    Rest,
    problem::{Kind, Problem},
};
use crate::{
    service::caller::{self, Presented},
    tokens::Grant,
};

/// Who asks, by the bearer token or the client certificate.
pub(super) struct Caller(pub(super) Grant);

impl FromRequestParts<Rest> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let presented = parts.extensions.get::<Presented>();
        Ok(Self(caller::admit(&rest.tokens, &rest.shell.trust.load(), bearer, presented)?))
    }
}

/// The parts of the path that vary.
pub(super) struct InPath(Vec<(String, String)>);

impl InPath {
    pub(super) fn take(&mut self, name: &str) -> String {
        let place = self.0.iter().position(|(key, _)| key == name);
        place.map(|place| self.0.swap_remove(place).1).unwrap_or_default()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|error| {
            Problem::invalid(
                format!("the path cannot be read: {error}"),
                "Không đọc được đường dẫn; hãy kiểm tra mã hóa UTF-8",
            )
        })?;
        Ok(Self(params.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }
}

/// The query. Whoever has taken all that it knows calls [`Query::end`].
pub(super) struct Query {
    given: Vec<(String, String)>,
    mistakes: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn of(query: &str) -> Self {
        let given = form_urlencoded::parse(query.as_bytes());
        Self { given: given.map(|(name, value)| (name.into(), value.into())).collect(), mistakes: Vec::new() }
    }

    /// All values of a name.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.given.retain_mut(|(key, value)| {
            let wanted = key == name;
            if wanted {
                found.push(std::mem::take(value));
            }
            !wanted
        });
        found
    }

    /// At most one, and not empty; empty when it is not there.
    pub(super) fn text(&mut self, name: &str) -> String {
        let mut found = self.list(name);
        if found.len() > 1 {
            self.mistakes.push(format!("`{name}` stands {} times", found.len()));
        }
        let text = found.pop();
        if text.as_ref().is_some_and(String::is_empty) {
            self.mistakes.push(format!("`{name}` is empty"));
        }
        text.unwrap_or_default()
    }

    /// A text that has to be there.
    pub(super) fn wanted(&mut self, name: &str) -> String {
        if !self.given.iter().any(|(key, _)| key == name) {
            self.mistakes.push(format!("`{name}` is missing"));
        }
        self.text(name)
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let number =
            text.parse().ok().filter(|number| range.contains(number) && text.bytes().all(|b| b.is_ascii_digit()));
        if number.is_none() {
            self.mistakes.push(format!("`{name}` is a number from {} to {}", range.start(), range.end()));
        }
        number
    }

    pub(super) fn boolean(&mut self, name: &str) -> bool {
        match self.text(name).as_str() {
            "" | "false" => false,
            "true" => true,
            _ => {
                self.mistakes.push(format!("`{name}` is `true` or `false`"));
                false
            }
        }
    }

    /// That there was nothing wrong, and nothing else.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        let strange = self.given.iter().map(|(name, _)| {
            let name: String = name.chars().take(40).collect();
            format!("there is no parameter {name:?} here")
        });
        self.mistakes.extend(strange.take(10));
        if self.mistakes.is_empty() {
            return Ok(());
        }
        let list = self.mistakes.join("; ");
        Err(Problem::invalid(
            format!("the query is not valid: {list}"),
            format!("Tham số truy vấn không hợp lệ: {list}"),
        ))
    }
}

/// That there is no query: the operation knows none.
pub(super) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::of(parts.uri.query().unwrap_or_default()).end().map(|()| Self)
    }
}

/// The idempotency key (draft-ietf-httpapi-idempotency-key-header: a string in quotes; most clients leave them away).
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let text = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        _ => "",
    };
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+=-".contains(&byte);
    if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&bare.len()) && bare.bytes().all(good) {
        return Ok(bare.to_owned());
    }
    Err(Problem::invalid(
        format!(
            "the header `Idempotency-Key` is wanted once: 1 to {IDEMPOTENCY_KEY_CHARS_MAX} of A-Z, a-z, 0-9 and ._:/@+=-; use the document's own id"
        ),
        format!(
            "Cần đúng một tiêu đề `Idempotency-Key`: 1 đến {IDEMPOTENCY_KEY_CHARS_MAX} ký tự A-Z, a-z, 0-9 và ._:/@+=-; hãy dùng mã của chính văn bản"
        ),
    ))
}

/// A JSON body of bounded length.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    require_media_type(headers, "application/json")?;
    let mut bytes = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if bytes.len() + piece.len() > REST_JSON_BYTES_MAX {
            return Err(too_long());
        }
        bytes.extend_from_slice(&piece);
    }
    parse_json(&bytes)
}

pub(super) fn too_long() -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("JSON has at most {REST_JSON_BYTES_MAX} bytes here"),
        format!("Phần JSON dài tối đa {REST_JSON_BYTES_MAX} byte"),
    )
}

pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::invalid(
            format!("the JSON is not what is wanted: {error}"),
            format!("Nội dung JSON không đúng: {error}"),
        )
    })
}

/// The client went away in the middle of its body, or framed it wrongly.
pub(super) fn broken(error: &dyn fmt::Display) -> Problem {
    Problem::invalid(
        format!("the body did not come whole: {error}; send again"),
        format!("Dữ liệu gửi lên bị gián đoạn: {error}; hãy gửi lại"),
    )
}

pub(super) fn require_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = given.split(';').next().unwrap_or_default().trim();
    if bare.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        format!("`Content-Type: {wanted}` is wanted here"),
        format!("Ở đây cần `Content-Type: {wanted}`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_of_a_query_are_told_at_once() {
        let mut query = Query::of("a=1&a=2&n=07&m=-1&b=yes&to=H26&to=H37&%00=1&e=");
        assert_eq!(query.list("to"), ["H26", "H37"]);
        assert_eq!(query.number("n", 0..=9), Some(7));
        let _ = (query.text("a"), query.number("m", 0..=9), query.boolean("b"), query.wanted("w"), query.text("e"));
        let problem = query.end().unwrap_err();
        for wanted in ["`a` stands 2 times", "`m` is a number", "`b` is", "`w` is missing", "`e` is empty", "\"\\0\""] {
            assert!(
                format!("{problem:?}").contains(&wanted.replace('\\', "\\\\").replace('"', "\\\"")),
                "{wanted}: {problem:?}"
            );
        }
    }

    #[test]
    fn an_idempotency_key_may_stand_in_quotes() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", text.parse().unwrap());
            idempotency_key(&headers)
        };
        assert_eq!(of("\"doc-1/2026\"").unwrap(), "doc-1/2026");
        assert_eq!(of("doc-1/2026").unwrap(), "doc-1/2026");
        for bad in ["", "\"\"", "a b", "\"a", &"x".repeat(129)] {
            assert_eq!(of(bad).unwrap_err().kind(), Kind::InvalidRequest, "{bad:?}");
        }
        assert!(idempotency_key(&HeaderMap::new()).is_err());
    }
}
