//! libpam: the calls of libpam that tell who somebody is.
//!
//! Programs   none; a library
//! Runs as    whoever calls: root, for most modules
//! Reads      what the modules of the service read
//! Writes     what they write
//! May use    nothing of ours
//! Source     pam_start(3) pam_conv(3) pam_authenticate(3) pam_acct_mgmt(3) of Linux-PAM
//!
//! The only crate of this workspace with `unsafe`; every block says why it is sound.
#![allow(
    unsafe_code,
    reason = "libpam is C; the bindings that others keep are old"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Talk = extern "C" fn(c_int, *const *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    talk: Talk,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const c_void, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_strerror(handle: *mut c_void, code: c_int) -> *const c_char;
    fn pam_end(handle: *mut c_void, code: c_int) -> c_int;
}

// Of the C library: what a response is made of, since PAM frees it.
unsafe extern "C" {
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn free(pointer: *mut c_void);
    fn strdup(text: *const c_char) -> *mut c_char;
}

#[cfg(not(target_os = "linux"))]
compile_error!("the numbers of Linux-PAM are not those of this system");

const SUCCESS: c_int = 0;
mod code {
    pub(super) const BUFFER: super::c_int = 5;
    pub(super) const CONVERSATION: super::c_int = 19;
    /// permission denied, wrong, insufficient, unknown, too often, new password needed, expired, credentials expired
    pub(super) const REFUSED: [super::c_int; 8] = [6, 7, 8, 10, 11, 12, 13, 16];
}
const DISALLOW_NULL: c_int = 0x1;
const SILENT: c_int = 0x8000;

const USER: c_int = 2;
const RHOST: c_int = 4;
const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;
/// Messages in one call of the conversation, at most.
const MESSAGES: c_int = 32;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// it is him, under this name: modules may change it
    Accepted(Vec<u8>),
    /// it is not, or he may not
    Refused,
    /// nobody can tell now
    Trouble(String),
}

/// Answers prompts: for what is not shown the password, for what is shown the name.
extern "C" fn talk(
    count: c_int,
    messages: *const *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    if messages.is_null() || responses.is_null() || data.is_null() {
        return code::CONVERSATION;
    }
    let Some(length) = usize::try_from(count)
        .ok()
        .filter(|_| (1..=MESSAGES).contains(&count))
    else {
        return code::CONVERSATION;
    };
    // SAFETY: `data` is what `check` gave pam_start: an Answers that outlives the transaction, which only reads it.
    let answers = unsafe { &*data.cast::<Answers>() };
    // SAFETY: no pointer goes in; what comes back is checked.
    let list = unsafe { calloc(length, size_of::<Response>()) }.cast::<Response>();
    if list.is_null() {
        return code::BUFFER;
    }
    for n in 0..length {
        // SAFETY: Linux-PAM gives `count` pointers to messages, and n is below it.
        let style = unsafe { (**messages.add(n)).style };
        let text = match style {
            PROMPT_ECHO_OFF => &answers.password,
            PROMPT_ECHO_ON => &answers.name,
            _ => continue,
        };
        // SAFETY: the text ends with NUL, and `list` has `length` elements, zeroed: a valid Response each.
        unsafe {
            let copy = strdup(text.as_ptr());
            if copy.is_null() {
                for done in 0..n {
                    free((*list.add(done)).text.cast());
                }
                free(list.cast());
                return code::BUFFER;
            }
            (*list.add(n)).text = copy;
        }
    }
    // SAFETY: PAM gave a place for one pointer; what it points to is PAM's from now on.
    unsafe { *responses = list };
    SUCCESS
}

struct Answers {
    name: CString,
    password: CString,
}

/// Asks the modules of `service` whether `password` is the one of `name`, and whether he may come in. `client` is his
/// address, for modules that log or limit.
///
/// Waits   as long as the modules do: run it where it can be ended.
pub fn check(service: &[u8], name: &[u8], password: &[u8], client: Option<&[u8]>) -> Verdict {
    let (Ok(service), Ok(name), Ok(password)) = (
        CString::new(service),
        CString::new(name),
        CString::new(password),
    ) else {
        return Verdict::Refused;
    };
    let client = client.and_then(|c| CString::new(c).ok());
    let answers = Answers {
        name: name.clone(),
        password,
    };
    let conversation = Conversation {
        talk,
        data: ptr::from_ref(&answers).cast_mut().cast(),
    };
    let mut handle = ptr::null_mut();
    // SAFETY: the texts end with NUL; `conversation` and `answers` live until after pam_end; `handle` is a place for one
    // pointer.
    let started = unsafe {
        pam_start(
            service.as_ptr(),
            name.as_ptr(),
            &raw const conversation,
            &raw mut handle,
        )
    };
    if started != SUCCESS || handle.is_null() {
        return Verdict::Trouble(format!("pam_start failed with {started}"));
    }
    let mut result = SUCCESS;
    if let Some(client) = &client {
        // SAFETY: the handle is of pam_start; PAM copies the text.
        result = unsafe { pam_set_item(handle, RHOST, client.as_ptr().cast()) };
    }
    if result == SUCCESS {
        // SAFETY: the handle is of pam_start.
        result = unsafe { pam_authenticate(handle, SILENT | DISALLOW_NULL) };
    }
    if result == SUCCESS {
        // SAFETY: as above.
        result = unsafe { pam_acct_mgmt(handle, SILENT | DISALLOW_NULL) };
    }
    let verdict = match result {
        SUCCESS => user(handle).map_or_else(
            || Verdict::Trouble("there is no user after authentication".to_owned()),
            Verdict::Accepted,
        ),
        refused if code::REFUSED.contains(&refused) => Verdict::Refused,
        other => Verdict::Trouble(text(handle, other)),
    };
    // SAFETY: the handle is of pam_start, and is not used after this.
    unsafe { pam_end(handle, result) };
    verdict
}

/// The name, as the modules left it.
fn user(handle: *mut c_void) -> Option<Vec<u8>> {
    let mut value = ptr::null();
    // SAFETY: the handle is of pam_start, `value` a place for one pointer.
    let result = unsafe { pam_get_item(handle, USER, &raw mut value) };
    if result != SUCCESS || value.is_null() {
        return None;
    }
    // SAFETY: the item USER is a text that ends with NUL and stays until it is set again or the transaction ends; it is
    // copied before.
    let name = unsafe { CStr::from_ptr(value.cast()) };
    Some(name.to_bytes().to_vec()).filter(|n| !n.is_empty())
}

fn text(handle: *mut c_void, result: c_int) -> String {
    // SAFETY: the handle is of pam_start; the text is constant.
    let text = unsafe { pam_strerror(handle, result) };
    if text.is_null() {
        return format!("PAM says {result}");
    }
    // SAFETY: it ends with NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
