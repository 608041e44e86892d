//! Takes screenshots of pages in both colour schemes at a phone's and a desktop's width:
//! `cargo run -p browser-test --example shots -- FOLDER NAME=URL…`

use std::{env, path::PathBuf};

use browser_test::{Browser, BrowserError, Scheme};

#[tokio::main]
async fn main() -> Result<(), BrowserError> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let browser = Browser::start().await?;
    for page in arguments {
        let Some((name, url)) = page.split_once('=') else {
            continue;
        };
        for (scheme, shade) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            for (width, height) in [(390, 844), (1280, 800)] {
                browser.emulate(width, height, scheme).await?;
                browser.open(url).await?;
                browser.until("document.readyState === 'complete'").await?;
                let file = folder.join(format!("{name}-{shade}-{width}.png"));
                browser.screenshot(&file).await?;
                println!("{}", file.display());
            }
        }
    }
    println!("console: {:?}", browser.console().await?);
    Ok(())
}
