use super::*;

const LONG: Duration = Duration::from_secs(30);

/// A connection through a proxy, and its far end.
async fn through() -> (Proxy, TcpListener, TcpStream, TcpStream) {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap()).await;
    let (near, far) = pair(&proxy, &target).await;
    (proxy, target, near, far)
}

async fn pair(proxy: &Proxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(proxy.address()).await.unwrap();
    (near, target.accept().await.unwrap().0)
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &[u8]) {
    let mut read = vec![0; text.len()];
    let (reading, writing) = (to, from);
    let both = async { tokio::try_join!(writing.write_all(text), reading.read_exact(&mut read)) };
    tokio::time::timeout(LONG, both).await.unwrap().unwrap();
    assert!(read == text);
}

/// What a read gives, within a time that is long for what passes at once.
async fn hears(stream: &mut TcpStream) -> Option<std::io::Result<usize>> {
    let mut buffer = [0; 8];
    tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buffer))
        .await
        .ok()
}

#[tokio::test]
async fn in_clear_weather_all_bytes_pass_in_order_and_so_does_the_end() {
    let (_proxy, _target, mut near, mut far) = through().await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    passes(&mut near, &mut far, &large).await;
    passes(&mut far, &mut near, &large).await;
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    passes(&mut far, &mut near, b"still open this way").await;
}

#[tokio::test]
async fn what_is_swallowed_never_comes_not_even_an_end_and_new_connections_pass() {
    let (proxy, target, mut near, mut far) = through().await;
    proxy.set_open(Weather::Swallowing);
    near.write_all(b"lost").await.unwrap();
    assert!(hears(&mut far).await.is_none());
    drop(near);
    assert!(hears(&mut far).await.is_none());
    let (mut near, mut far) = pair(&proxy, &target).await;
    passes(&mut near, &mut far, b"through").await;
    assert_eq!((proxy.open(), *proxy.accepted().borrow()), (2, 2));
}

#[tokio::test]
async fn one_direction_may_be_swallowed_alone() {
    let (proxy, _target, mut near, mut far) = through().await;
    proxy.set(Line {
        there: Weather::Swallowing,
        back: Weather::Clear,
    });
    near.write_all(b"lost").await.unwrap();
    passes(&mut far, &mut near, b"heard").await;
    assert!(hears(&mut far).await.is_none());
}

#[tokio::test]
async fn what_is_stalled_comes_later_and_what_is_delayed_takes_its_time() {
    let (proxy, _target, mut near, mut far) = through().await;
    proxy.set(Weather::Stalled);
    near.write_all(b"waits").await.unwrap();
    assert!(hears(&mut far).await.is_none());
    proxy.set(Weather::Clear);
    passes(&mut near, &mut far, b"").await;
    far.read_exact(&mut [0; 5]).await.unwrap();
    let delay = Duration::from_millis(150);
    proxy.set(Weather::Delayed(delay));
    let start = Instant::now();
    passes(&mut near, &mut far, b"there").await;
    passes(&mut far, &mut near, b"back").await;
    assert!(start.elapsed() >= 2 * delay);
    proxy.set(Weather::Trickling(Duration::from_millis(10)));
    let start = Instant::now();
    passes(&mut near, &mut far, &[7; 20]).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_cut_is_a_reset_at_both_ends_and_refused_ones_see_it_too() {
    let (proxy, target, mut near, mut far) = through().await;
    proxy.cut();
    assert!(near.read(&mut [0; 8]).await.is_err());
    assert!(far.read(&mut [0; 8]).await.is_err());
    proxy.refuse(true);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(refused.read(&mut [0; 8]).await.is_err());
    proxy.refuse(false);
    let (mut near, mut far) = pair(&proxy, &target).await;
    passes(&mut near, &mut far, b"again").await;
}
