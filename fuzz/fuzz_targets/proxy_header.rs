//! PROXY headers in both readings: no panic, a verdict that more bytes do not change, and nothing that the strict
//! reading takes which the lenient one does not take alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailtap::engine::proxy_header::{ParsedHeader, Reading, extension, extensions, parse};

fuzz_target!(|input: &[u8]| {
    let readings = [Reading::Strict { longest: 4096 }, Reading::Lenient];
    for reading in readings {
        let whole = parse(input, reading);
        let half = parse(&input[..input.len() / 2], reading);
        assert!(half == ParsedHeader::NeedMore || half == whole, "more bytes change a verdict");
        if let ParsedHeader::Complete(header) = whole {
            assert!(header.length <= input.len());
            let room = header.extensions().map(|extension| 3 + extension.value.len()).sum::<usize>();
            assert!(room <= header.length, "extensions out of nothing");
            let inside = header.extension(extension::SSL).and_then(|value| value.get(5..)).unwrap_or_default();
            assert!(extensions(inside).count() <= inside.len());
        }
    }
    let [strict, lenient] = readings.map(|reading| parse(input, reading));
    assert!(!matches!(strict, ParsedHeader::Complete(_)) || strict == lenient, "two readings of a sound header differ");
});
