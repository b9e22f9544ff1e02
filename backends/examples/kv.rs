//! Offers guests functions of its own, on each backend: `kv GUEST...`, components and core modules, text or binary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use wharf::core::{GuestConfig, Linker, Result};

type Store = Arc<Mutex<HashMap<String, String>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut linker = Linker::new();
    linker.func("my:kv/store@1.0.0", "get", |call, (key,): (String,)| -> Result<Option<String>> {
        Ok(call.data::<Store>()?.lock().unwrap().get(&key).cloned())
    })?;
    linker.func("my:kv/store@1.0.0", "set", |call, (key, value): (String, String)| -> Result<()> {
        call.data::<Store>()?.lock().unwrap().insert(key, value);
        Ok(())
    })?;
    linker.core_func("env", "log", |call, (ptr, len): (u32, u32)| -> Result<()> {
        println!("it logs: {}", String::from_utf8_lossy(call.memory()?.slice(ptr, len)?));
        Ok(())
    })?;
    for backend in wharf::backends() {
        let runtime = wharf::Runtime::builder().backend(backend).linker(linker.clone()).build()?;
        for guest in std::env::args().skip(1) {
            let store = Store::new(Mutex::new(HashMap::from([("name".to_owned(), backend.to_owned())])));
            let mut config = GuestConfig::default();
            config.data.insert(store.clone());
            runtime.load(&wat::parse_file(&guest)?)?.run(config, Some("greet"))?;
            println!("it sets: {}", store.lock().unwrap()["greeting"]);
        }
    }
    Ok(())
}
