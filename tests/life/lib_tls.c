// lib_tls.c - takes 64 bytes of the loader's static thread-local storage.
__thread char tls_filler[64] __attribute__((tls_model("initial-exec")));

char *tls_address(void) {
    return tls_filler;
}
