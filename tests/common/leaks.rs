//! Finds secrets in outputs, in clear and in the encodings that they may take.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

/// In which forms `secret` stands in `output`.
pub(crate) fn leaks(secret: &[u8], output: &[u8]) -> Vec<String> {
    let folded = output.to_ascii_lowercase();
    let mut found = Vec::new();
    for (name, form) in forms(secret) {
        if memchr::memmem::find(output, &form).is_some() {
            found.push(name.to_owned());
        }
    }
    if secret.len() >= 6 && memchr::memmem::find(&folded, &secret.to_ascii_lowercase()).is_some() {
        found.push("in another case".to_owned());
    }
    found
}

fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("plain", secret.to_vec())];
    let json = serde_json::to_string(&String::from_utf8_lossy(secret)).expect("a string");
    forms.push(("JSON", json.trim_matches('"').as_bytes().to_vec()));
    if secret.len() >= 4 {
        forms.push(("hex", HEXLOWER.encode(secret).into_bytes()));
        forms.push(("hex", HEXUPPER.encode(secret).into_bytes()));
        let percent = secret.iter().map(|o| format!("%{o:02X}")).collect::<String>();
        forms.push(("percent-encoded", percent.into_bytes()));
        forms.push(("reversed", secret.iter().rev().copied().collect()));
    }
    if secret.len() >= 6 {
        forms.extend((0..3).map(|before| ("base64", aligned(secret, before))));
    }
    forms
}

/// The Base64 characters that depend on `secret` alone when `before` octets (modulo 3) stand before it.
fn aligned(secret: &[u8], before: usize) -> Vec<u8> {
    let text = BASE64.encode(&[&vec![0; before], secret].concat());
    let (first, last) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
    text.as_bytes()[first..last].to_vec()
}
