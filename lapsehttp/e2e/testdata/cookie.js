// Puts a cookie where the client will find it at load.

document.cookie = document.currentScript.dataset.cookie;
