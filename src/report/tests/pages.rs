//! What holds for every page: it brings all that it needs, and may run nothing else.

use super::files;

#[test]
fn a_page_brings_all_that_it_needs_and_may_run_nothing_else() {
    use base64::Engine;
    use sha2::Digest;
    let hash = |text: &str| base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(text));
    for file in files().iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "html")) {
        let page = String::from_utf8(file.bytes.clone()).unwrap();
        let inside = |tag: &str| {
            let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
            assert_eq!(page.matches(&start).count(), 1, "{}", file.path.display());
            page[page.find(&start).unwrap() + start.len()..page.find(&end).unwrap()].to_owned()
        };
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            hash(&inside("style")),
            hash(&inside("script"))
        );
        let escaped = policy.replace('\'', "&#x27;").replace('/', "&#x2f;");
        assert!(page.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{escaped}\"")), "{page}");
        // An attribute of style would want a policy of its own.
        assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("src=\""));
        let links = page.split("href=\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]);
        assert!(links.clone().count() > 0 && links.clone().all(|link| link.starts_with('#')), "{page}");
        for link in links {
            let id = format!("id=\"{}\"", &link[1..]);
            assert!(page.contains(&id), "{link} leads nowhere");
        }
    }
}
