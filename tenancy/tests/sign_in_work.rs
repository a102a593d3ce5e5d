//! Sign-in does the same work whether the e-mail is known or not. It counts hashes of the whole process, so it is the
//! only test of its binary.

#[path = "storage/support.rs"]
mod support;

use support::{PASSWORD, on_both, sign_up};
use tenancy::user::{check_password, password_hashes_done};

#[tokio::test]
async fn wrong_and_unknown_are_one_answer_after_one_hash_each() {
    on_both(|db| async move {
        sign_up(&db, "ana@example.com").await;
        let one_hash = ["ana@example.com", "nobody@example.com", "not an address", ""];
        for email in one_hash {
            let before = password_hashes_done();
            let answer = check_password(&db, email, "eleven purple trumpets").await.unwrap();
            assert_eq!((answer, password_hashes_done() - before), (None, 1), "{email:?}");
        }
        let before = password_hashes_done();
        assert!(check_password(&db, "ana@example.com", PASSWORD).await.unwrap().is_some());
        assert_eq!(password_hashes_done() - before, 1, "the right one costs no more");

        let before = password_hashes_done();
        for email in one_hash {
            for impossible in ["", "short", &"x".repeat(1_000_000)] {
                assert_eq!(check_password(&db, email, impossible).await.unwrap(), None);
            }
        }
        assert_eq!(password_hashes_done(), before, "what cannot be a password is not hashed, whoever it is");
    })
    .await;
}
