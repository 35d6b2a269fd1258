//! Whatever Client VPN, or somebody in its place, sends to the connect handler: it is read without a panic, and an answer
//! has the form that Client VPN takes. A name with a control character in it, or a `#` before it, is no key of a lock.

#![no_main]

use libfuzzer_sys::fuzz_target;
use revocation::connect::{ConnectAnswer, ConnectRequest, DenyMessage};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let request = ConnectRequest::read(bytes);
    if let Ok(who) = &request.who {
        for name in who.names() {
            assert!(!name.as_str().trim().is_empty(), "a name is something");
            let acts = name.as_str().chars().any(char::is_control) || name.as_str().starts_with('#');
            assert!(!acts || !name.is_lockable(), "and no key of a lock that acts");
        }
    }
    for answer in
        [ConnectAnswer::allow(request.version.clone()), ConnectAnswer::deny(request.version, DenyMessage::default())]
    {
        let json = serde_json::to_value(&answer).expect("an answer is JSON");
        assert!(json.get("allow").is_some_and(Value::is_boolean));
        // Version 1 calls it otherwise than all later ones; each answer has one of the two.
        let fields = ["error-msg-on-failed-posture-compliance", "error-msg-on-denied-connection"];
        let messages: Vec<&str> = fields.iter().filter_map(|field| json.get(field)?.as_str()).collect();
        let [message] = messages.as_slice() else { panic!("{json} has no message, or two") };
        assert!(message.encode_utf16().count() <= 255 && !message.chars().any(char::is_control));
        assert!(json.get("schema-version").is_some_and(Value::is_string));
    }
});
