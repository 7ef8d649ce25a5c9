/* What remains of it where calls cannot be redirected. */

#include "native/interpose.h"

#include <string.h>

#include "check.h"

int main(void) {
    void *next = NULL;
    const struct interpose_symbol symbol = {"pthread_mutex_lock", (void *)main, &next};
    struct interpose interpose;
    char reason[200] = "";
    CHECK(interpose_install(&interpose, (void *)main, &symbol, 1, reason, sizeof reason) == -1);
    CHECK(strlen(reason) > 0);
    CHECK(!interpose_intact(&interpose));
    interpose_undo(&interpose);
    CHECK(interpose_real("pthread_mutex_lock") == NULL);
    return 0;
}
