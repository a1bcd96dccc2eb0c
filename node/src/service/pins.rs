//! PINs that a person gives, for keys in PKCS#11 tokens whose settings say so.

use truc_proto::{AdminAction, AdminSubject, limits::PIN_BYTES_MAX, node_v1};
use truc_signer::{Pin, Token, TokenError};
use zeroize::Zeroizing;

use super::{Error, administration::authorise, roles::May};
use crate::{
    core::Input,
    shell::{Shell, blocking},
    tokens::Grant,
};

/// Shows the PIN to the token at once. Wrong ones are shown once; the token's own count is respected ([`Token::give_pin`]).
pub(crate) async fn give(
    shell: &Shell,
    grant: &Grant,
    request: node_v1::GivePinRequest,
) -> Result<node_v1::GivePinReply, Error> {
    grant.need(May::Administer)?;
    let node_v1::GivePinRequest { token: label, pin, why } = request;
    let text = std::str::from_utf8(&pin).ok().filter(|text| (1..=PIN_BYTES_MAX).contains(&text.len()));
    let text = Zeroizing::new(text.map(str::to_owned).ok_or_else(|| {
        Error::invalid(format!("a PIN has 1 to {PIN_BYTES_MAX} bytes of text / Mã PIN có 1 đến {PIN_BYTES_MAX} byte"))
    })?);
    let tokens = Token::all_prompted(&label);
    if tokens.is_empty() {
        return Err(Error::not_found(format!(
            "no key of this node lies in a token labelled {label:?} whose PIN is asked for (`pin = \"prompt\"` in the settings) / Không có khóa nào của nút nằm trong thiết bị {label:?} có cấu hình hỏi mã PIN (`pin = \"prompt\"`)"
        )));
    }
    let permit = authorise(shell, grant, AdminAction::PinGiven, AdminSubject::named(&label), &why).await?;
    let pin = Pin::new(&text);
    let shown = move || tokens.iter().try_for_each(|token| token.give_pin(pin.clone()));
    blocking("showing a PIN to a token", shown).await?.map_err(|error| match error {
        TokenError::Pin { .. } => Error::not_now(format!(
            "{error} / Thiết bị không nhận mã PIN này; mã sai không được thử lại. Hãy kiểm tra rồi nhập mã đúng"
        )),
        error => Error::unavailable(format!(
            "{error} / Chưa dùng được thiết bị lưu khóa; hãy kiểm tra thiết bị rồi nhập lại mã PIN"
        )),
    })?;
    shell.engine.tell(Input::KeyBack).await?; // what was held for want of it
    Ok(node_v1::GivePinReply { position: permit.done(shell).await? })
}
