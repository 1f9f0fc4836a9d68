//! A small git repository with a change in three languages.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository with two commits.
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
    pub(crate) base: String,
    pub(crate) head: String,
}

/// Builds the repository below `folder`.
pub(crate) fn build(folder: &Path) -> Repository {
    let path = folder.join("shop");
    std::fs::create_dir_all(&path).unwrap();
    git(&path, &["init", "-q", "-b", "main"]);
    for number in 0..12 {
        let text = format!(
            "# Chapter {number}\n\n{}",
            "Plain words about nothing.\n".repeat(40)
        );
        write(&path, &format!("docs/chapter_{number}.md"), &text);
    }
    write(
        &path,
        "src/old.py",
        "def retired(value):\n    return value\n",
    );
    write(
        &path,
        "src/stock.py",
        "STOCK_LIMIT = 10\n\n\ndef count(items):\n    return len(items)\n",
    );
    let base = commit(&path, "Begin");
    for (file, text) in CHANGE {
        write(&path, file, text);
    }
    git(&path, &["rm", "-q", "src/old.py"]);
    let head = commit(&path, "Add orders");
    Repository { path, base, head }
}

const CHANGE: &[(&str, &str)] = &[
    (
        "src/stock.py",
        "STOCK_LIMIT = 25\nRESTOCK_BATCH = 40\n\n\ndef count(items):\n    return len(items)\n\n\n\
         def reserve(items, amount):\n    remaining = STOCK_LIMIT - count(items)\n    \
         return min(remaining, amount)\n",
    ),
    (
        "src/orders.py",
        "from stock import reserve\nfrom prices import total_price\n\nORDER_TIMEOUT = 90\n\
         MAX_RETRIES = 7\n\n\ndef place_order(items, amount):\n    held = reserve(items, amount)\n    \
         price = total_price(items)\n    receipt = write_receipt(held, price)\n    return receipt\n\n\n\
         def write_receipt(held, price):\n    return f\"{held} for {price}\"\n",
    ),
    (
        "src/prices.py",
        "VAT_PERCENT = 19\nROUNDING_STEP = 5\n\n\ndef total_price(items):\n    \
         return sum(items) * VAT_PERCENT // 100\n\n\ndef discount(price, percent):\n    \
         return price - price * percent // 100\n",
    ),
    (
        "tests/test_orders.py",
        "from orders import place_order\nfrom prices import discount\n\n\n\
         def test_place_order_writes_a_receipt():\n    assert place_order([1], 2)\n\n\n\
         def test_discount_is_taken_off():\n    assert discount(100, 10) == 90\n",
    ),
    (
        "web/cart.ts",
        "export const CART_LIMIT = 33;\nexport const SESSION_MINUTES = 45;\n\n\
         export function addToCart(cart: string[], item: string): string[] {\n  \
         return [...cart, item].slice(0, CART_LIMIT);\n}\n\n\
         export function emptyCart(): string[] {\n  return [];\n}\n",
    ),
    (
        "web/checkout.ts",
        "import { addToCart, emptyCart } from \"./cart\";\n\nexport const CHECKOUT_STEPS = 4;\n\n\
         export function checkout(item: string): string[] {\n  const cart = emptyCart();\n  \
         const filled = addToCart(cart, item);\n  return confirmOrder(filled);\n}\n\n\
         export function confirmOrder(cart: string[]): string[] {\n  return cart;\n}\n",
    ),
    (
        "engine/src/ship.rs",
        "pub const CRATE_WEIGHT: u32 = 12;\npub const DOCK_COUNT: u32 = 6;\n\n\
         pub(crate) fn ship_order(orders: u32) -> u32 {\n    pack_crates(orders) * CRATE_WEIGHT\n}\n\n\
         pub(crate) fn pack_crates(orders: u32) -> u32 {\n    orders / DOCK_COUNT\n}\n",
    ),
    (
        "engine/src/route.rs",
        "use crate::ship::{pack_crates, ship_order};\n\npub const ROUTE_LENGTH: u32 = 480;\n\n\
         pub(crate) fn plan_route(orders: u32) -> u32 {\n    let crates = pack_crates(orders);\n    \
         let weight = ship_order(orders);\n    join_legs(crates, weight)\n}\n\n\
         pub(crate) fn join_legs(crates: u32, weight: u32) -> u32 {\n    crates + weight + ROUTE_LENGTH\n}\n",
    ),
];

fn write(repository: &Path, file: &str, text: &str) {
    let path = repository.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn commit(repository: &Path, message: &str) -> String {
    git(repository, &["add", "-A"]);
    git(repository, &["commit", "-q", "-m", message]);
    git(repository, &["rev-parse", "HEAD"])
}

pub(crate) fn git(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(repository)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        // The same files give the same commits at any time.
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
