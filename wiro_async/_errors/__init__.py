"""Every error of this library, sorted by who must act.

WiroError
├── ConfigurationError              you: keys, URLs, options
├── UsageError                      you: a call out of order; also a RuntimeError
├── SessionClosedError              you: the session was closed during a call
├── ConversationBusyError           you: one turn at a time
├── TransportError                  the network
│   ├── ConnectionFailedError
│   └── RequestTimeoutError         also a TimeoutError
├── DecodingError                   the service (or a proxy) sent something that is not its protocol
├── APIError                        the service refused the call or failed
│   ├── AuthenticationError
│   ├── PermissionDeniedError
│   ├── InvalidInputError           also raised before anything is sent
│   ├── NotFoundError
│   ├── ConcurrencyLimitError
│   ├── InsufficientBalanceError
│   │   └── SpendLimitError
│   ├── RateLimitError
│   └── ServerError
├── DownloadError                   an output could not be downloaded; the result itself is good
├── SubmissionUnknownError          a run may have been made: look before you submit it again
├── TaskError                       a task ended without a result
│   ├── TaskFailedError
│   ├── TaskCancelledError
│   ├── TaskTimeoutError            also a TimeoutError
│   └── RealtimeClosedError         a realtime session was lost, or takes no more audio
├── AnswerError                     a run ended well, but its answer is not what was asked for
│   ├── ResponseFormatError
│   ├── FinishReasonError
│   ├── ToolError
│   └── TurnLimitError
├── BatchFailedError                some runs of `map` failed; defined beside the items that it holds
├── BudgetExceededError             a batch reached its budget
├── JournalError                    a journal cannot be used
│   └── KeyConflictError
└── WebhookVerificationError        a callback was not authentic

All of them pickle and none of them shows a secret. Every error about a run has `model`, `task_id` and `token`.
"""

from wiro_async._errors.base import *  # noqa: F403
from wiro_async._errors.batch_errors import *  # noqa: F403
from wiro_async._errors.call_errors import *  # noqa: F403
from wiro_async._errors.task_errors import *  # noqa: F403
